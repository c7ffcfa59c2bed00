from __future__ import annotations

import numpy as np

from loadtest.traffic.precise import GROWTH, LEAST, Precise
from loadtest.traffic.sample import Outcome, Sample


def ended(count: int) -> list[Sample]:
    latencies = np.random.default_rng(3).normal(0.1, 0.01, count).tolist()
    return [Sample(n, n, n + latency, Outcome.OK) for n, latency in enumerate(latencies)]


def test_run_ends_once_the_percentile_is_known_well_enough() -> None:
    assert Precise(50.0, 0.02)(ended(2000))
    assert not Precise(50.0, 0.0001)(ended(2000))


def test_few_requests_are_never_enough() -> None:
    assert not Precise(50.0, 0.5)(ended(LEAST - 1))


def test_next_look_waits_until_the_run_has_grown() -> None:
    precise = Precise(99.0, 0.0001)
    precise(ended(1000))
    assert precise.look_at == 1000 * GROWTH


def test_order_of_ending_does_not_matter() -> None:
    samples = ended(2000)
    assert Precise(50.0, 0.02)(samples[::-1])


def test_run_without_answers_goes_on() -> None:
    assert not Precise(50.0, 0.5)([Sample(0, 0, 1, Outcome.REFUSED)] * LEAST)
