from __future__ import annotations

import pytest

from loadtest.bench import peak
from loadtest.bench.peak import peak_gflops


def test_peak_is_the_work_of_the_fastest_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SIDES", (100,))
    monkeypatch.setattr(peak, "TRIES", 3)
    moments = iter([0.0, 4.0, 10.0, 12.0, 20.0, 23.0] * 2)
    # 2 * 100^3 operations in the shortest time, 2 * 2e-6 s.
    monkeypatch.setattr(peak.time, "perf_counter", lambda: next(moments) * 2e-6)
    assert peak_gflops(threads=1) == {"fp32": 500.0, "int8": 500.0}


def test_peak_is_unknown_where_nothing_makes_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak.importlib.util, "find_spec", lambda name: None)
    assert peak_gflops(threads=1) == {}
