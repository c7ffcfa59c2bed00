from __future__ import annotations

import numpy as np
import pytest

from loadtest.bench import peak


def test_memory_grows_with_what_is_held() -> None:
    before = peak.peak_rss_mb()
    assert before is not None
    held = np.ones(60_000_000, np.uint8)
    after = peak.peak_rss_mb()
    assert after is not None
    assert after >= before
    # The most so far: it stays when the array is gone.
    del held
    assert peak.peak_rss_mb() == after


def test_peak_is_the_work_of_the_fastest_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SIDE", 100)
    monkeypatch.setattr(peak, "TRIES", 3)
    moments = iter([0.0, 4.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(peak.time, "perf_counter", lambda: next(moments))
    # 2 * 100^3 operations in 2 s.
    assert peak.peak_gflops() == pytest.approx(0.001)
