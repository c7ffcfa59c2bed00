from __future__ import annotations

import numpy as np

from loadtest.bench.memory import peak_rss_mb


def test_memory_is_the_most_so_far() -> None:
    held = np.ones(60_000_000, np.uint8)
    before = peak_rss_mb()
    assert before is not None
    assert before > held.nbytes / 1e6
    del held
    after = peak_rss_mb()
    assert after is not None
    assert after > before - 10  # the kernel's counts lag by some pages
