from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from loadtest.traffic.arrivals import arrivals


def test_constant_arrivals_come_at_even_times() -> None:
    assert list(arrivals(4.0, 1.0, "constant")) == [0.0, 0.25, 0.5, 0.75]


def test_poisson_gaps_are_exponential() -> None:
    times = np.array(list(arrivals(1000.0, 20.0, "poisson", seed=3)))
    gaps = np.diff(times)
    assert times[-1] < 20.0
    # 20,000 gaps: their mean and standard deviation are 1 ms within 3 %, four standard errors.
    assert gaps.mean() == pytest.approx(1e-3, rel=0.03)
    assert gaps.std() == pytest.approx(1e-3, rel=0.03)
    # Of memoryless gaps e^-1 are longer than the mean.
    assert (gaps > 1e-3).mean() == pytest.approx(np.exp(-1), abs=0.015)


def test_a_seed_gives_the_same_arrivals_again() -> None:
    first, again = (list(islice(arrivals(50.0, 99.0, "poisson", 7), 40)) for _ in range(2))
    assert first == again
    assert first != list(islice(arrivals(50.0, 99.0, "poisson", 8), 40))
