"""Intervals, against queues whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.traffic.confidence import (
    Interval,
    difference,
    mean_interval,
    quantile_interval,
    share_interval,
)

RUNS, REQUESTS, BUSY = 200, 3000, 0.7


def mm1(seed: int) -> NDArray[np.float64]:
    """Times in an M/M/1 queue whose mean service time is 1, by Lindley's recursion."""
    random = np.random.default_rng(seed)
    count = REQUESTS + 1000
    gaps, service = random.exponential(1 / BUSY, count), random.exponential(1.0, count)
    walk = np.concatenate([[0.0], np.cumsum(service[:-1] - gaps[1:])])
    return (walk - np.minimum.accumulate(walk) + service)[1000:]


def runs() -> Iterator[NDArray[np.float64]]:
    return map(mm1, range(RUNS))


def covered(intervals: list[Interval], truth: float) -> float:
    return sum(one.low <= truth <= one.high for one in intervals) / len(intervals)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_quantile_interval_covers_the_truth_though_latencies_depend_on_each_other(p: float) -> None:
    truth = -math.log(1 - p) / (1 - BUSY)
    intervals = [quantile_interval(run.tolist(), p) for run in runs()]
    # 95 % nominally; 200 runs tell it to 3 % (two standard errors).
    assert covered(intervals, truth) >= 0.90


def test_mean_interval_covers_the_truth_where_one_for_independent_values_does_not() -> None:
    truth = 1 / (1 - BUSY)
    assert covered([mean_interval(run.tolist()) for run in runs()], truth) >= 0.90
    naive = []
    for run in runs():
        reach = 1.96 * float(run.std(ddof=1)) / math.sqrt(len(run))
        naive.append(Interval(float(run.mean()), run.mean() - reach, run.mean() + reach))
    assert covered(naive, truth) < 0.6


def test_intervals_are_as_wide_as_they_have_to_be_for_independent_values() -> None:
    values = np.random.default_rng(1).normal(10.0, 1.0, 10_000).tolist()
    mean, median = mean_interval(values), quantile_interval(values, 0.5)
    # 2.262 standard errors of 0.01; the largest of four estimates of the variance.
    assert 0.022 < mean.high - mean.value < 0.04
    assert 0.028 < (median.high - median.low) / 2 < 0.05
    assert mean.low < 10.0 < mean.high


def test_quantile_is_the_smallest_that_the_share_does_not_exceed() -> None:
    values = [float(n) for n in range(1, 101)]
    assert quantile_interval(values, 0.99).value == 99.0
    assert quantile_interval(values, 0.5).value == 50.0
    assert quantile_interval([7.0], 0.99) == Interval(7.0, 7.0, math.inf)


def test_few_values_do_not_bound_a_high_percentile() -> None:
    interval = quantile_interval(np.random.default_rng(2).exponential(1.0, 200).tolist(), 0.99)
    assert math.isinf(interval.high)
    assert 1.0 < interval.low < interval.value


def test_what_was_never_answered_is_infinite() -> None:
    values = [1.0] * 97 + [math.inf] * 3
    assert quantile_interval(values, 0.99).value == math.inf
    assert quantile_interval(values, 0.9).value == 1.0


def test_share_of_none_is_not_known_to_be_none() -> None:
    none = share_interval([False] * 600)
    assert (none.value, none.low) == (0.0, pytest.approx(0.0))
    assert none.high == pytest.approx(0.0085, abs=0.0002)
    half = share_interval([True, False] * 300)
    assert (half.low, half.high) == pytest.approx((0.454, 0.546), abs=0.002)


def test_share_in_clusters_is_known_less_well() -> None:
    clustered = share_interval(([True] * 60 + [False] * 240) * 2)
    mixed = share_interval([n % 5 == 0 for n in range(600)])
    assert clustered.value == mixed.value == 0.2
    assert clustered.high - clustered.low > 3 * (mixed.high - mixed.low)


def test_difference_of_two_runs() -> None:
    found = difference(Interval(10.0, 7.0, 13.0), Interval(4.0, 0.0, 8.0))
    assert (found.value, found.low, found.high) == (6.0, 1.0, 11.0)
    unbounded = difference(Interval(10.0, 7.0, math.inf), Interval(4.0, 3.0, 5.0))
    assert unbounded.high == math.inf
    assert unbounded.low == pytest.approx(6 - math.sqrt(10))


def test_within_is_the_wider_side_as_a_share() -> None:
    assert Interval(10.0, 9.0, 12.0).within == pytest.approx(0.2)
    assert Interval(10.0, 7.0, 12.0).within == pytest.approx(0.3)
    assert Interval(10.0, -math.inf, 12.0).within == math.inf
    assert Interval(0.0, 0.0, 1.0).within == math.inf
