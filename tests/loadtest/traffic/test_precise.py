from __future__ import annotations

import numpy as np
import pytest

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


def test_run_that_was_too_short_says_by_how_much() -> None:
    # Latencies of 1 to 1,000 ms in no order: the median is 500 ms, its share of 0.5 is known to
    # 2.262 * sqrt(0.25 / 1000) = 0.0358, which is from 465 to 536 ms.
    mixed = [Sample(n, n, n + (n * 387 % 1000 + 1) / 1e3, Outcome.OK) for n in range(1000)]
    assert Precise(50.0, 0.025).shortfall(mixed, 60.0) == (
        "after 60 s the 95 % interval of p50 reaches 7.2 %; 2.5 % to either side were asked for, "
        "which takes more --seconds, or fewer stalls"
    )
    assert Precise(99.0, 0.1).shortfall(ended(150), 7.5) == (
        "after 7.5 s the 95 % interval of p99 has no upper end; 10 % to either side were asked "
        "for, which takes more --seconds, or fewer stalls"
    )


def test_wider_side_has_to_be_narrow_enough() -> None:
    # As above, but all beyond the median are three times as slow: from 465 to 1,608 about 500 ms.
    mixed = [Sample(n, n, n + (n * 387 % 1000 + 1) / 1e3, Outcome.OK) for n in range(1000)]
    for sample in mixed:
        if sample.latency > 0.5005:
            sample.ended += 2 * sample.latency
    assert Precise(50.0, 0.5).reach(mixed) == pytest.approx(2.216, abs=0.02)


def test_run_that_was_long_enough_says_nothing() -> None:
    precise = Precise(50.0, 0.02)
    assert precise(ended(2000))
    assert precise.shortfall(ended(2000), 60.0) is None


def test_run_whose_last_requests_undid_it_says_so() -> None:
    precise = Precise(99.0, 0.1)
    assert precise(ended(2000))
    assert precise.shortfall(ended(150), 7.5) == (
        "the run ended when the 95 % interval of p99 reached 10 % to either side, but with the "
        "requests that were still under way it has no upper end: a finer --precision runs for "
        "longer"
    )
