"""How far a figure of one run may lie from the truth, though its latencies are no strangers.

Requests that wait in the same queue are late together, so a run tells less than as many independent
requests would. Formulas for independent values then give intervals that are several times too
narrow; these don't take them for independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BATCHES = (5, 10, 20)
"""Parts that a run is cut into. The one that shows most variance counts: few long parts are nearer
to independence, many short ones a surer estimate."""

T = 2.262
"""Student's t for 95 % and nine degrees of freedom, those of ten parts."""


@dataclass(frozen=True)
class Interval:
    """A figure and where the truth lies with 95 % confidence; `high` is infinite if only more
    requests could tell.
    """

    value: float
    low: float
    high: float

    @property
    def within(self) -> float:
        """How far it reaches to its wider side, over the value."""
        reach = max(self.high - self.value, self.value - self.low)
        return reach / self.value if self.value else math.inf


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of a series' values, at least one, in the order of time.

    Source: batch means; Law, Simulation Modeling and Analysis, 5th ed., sec. 9.5.3.
    """
    series = np.asarray(values, float)
    mean = float(series.mean())
    reach = T * _standard_error(series - mean) if len(series) > 1 else math.inf
    return Interval(mean, mean - reach, mean + reach)


def share_interval(flags: Sequence[bool]) -> Interval:
    """The share of a series, at least one flag in the order of time, that is set.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927), for as many independent flags as have the variance of the batch means. Where few are
    set, nothing shows that they come in bursts: the interval is then too narrow for those that do.
    """
    series = np.asarray(flags, float)
    share = float(series.mean())
    count: float = len(series)
    if 0.0 < share < 1.0:
        count = min(count, share * (1.0 - share) / _standard_error(series - share) ** 2)
    middle = (share + T**2 / (2 * count)) / (1 + T**2 / count)
    reach = T / (1 + T**2 / count) * math.sqrt(share * (1 - share) / count + (T / count / 2) ** 2)
    return Interval(share, max(0.0, middle - reach), min(1.0, middle + reach))


def quantile_interval(values: Sequence[float], p: float) -> Interval:
    """The p-quantile of a series' values, at least one, in the order of time; 0 < p < 1.

    The value is one of the series: the smallest that a share of p does not exceed. A value may be
    infinite: a request that was never answered.
    Source: Woodruff, Confidence intervals for medians and other position measures, JASA 47 (1952):
    the interval of the share below the quantile, read off the ordered values. The share's variance
    is that of batch means, as in Heidelberger and Lewis, Operations Research 32 (1984).
    """
    series = np.asarray(values, float)
    ordered, count = np.sort(series), len(series)
    value = float(ordered[rank(p, count)])
    below = (series <= value).astype(float) - p
    independent = math.sqrt(p * (1.0 - p) / count)
    reach = T * max(independent, _standard_error(below))
    low = float(ordered[rank(p - reach, count)]) if p > reach else -math.inf
    high = float(ordered[rank(p + reach, count)]) if p + reach <= 1.0 else math.inf
    return Interval(value, max(low, 0.0) if ordered[0] >= 0 else low, high)


def rank(p: float, count: int) -> int:
    """The place of the p-quantile among so many ordered values, from 0."""
    return min(count - 1, max(0, math.ceil(p * count - 1e-9) - 1))


def difference(one: Interval, other: Interval) -> Interval:
    """How much more `one` is than `other`, of two runs that know nothing of each other.

    Source: Zou and Donner, Construction of confidence limits about effect measures: a general
    approach, Statistics in Medicine 27 (2008).
    """
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, value - down, value + up)


def _standard_error(series: NDArray[np.float64]) -> float:
    """Of the mean of a series about 0, from the means of its parts; values may be infinite."""
    count = len(series)
    variances = [float(np.mean(series**2))]
    for parts in BATCHES:
        if (size := count // parts) > 1:
            means = series[count - size * parts :].reshape(parts, size).mean(axis=1)
            variances.append(size * float(means.var(ddof=1)))
    return math.sqrt(max(variances) / count)
