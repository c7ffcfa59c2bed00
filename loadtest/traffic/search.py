"""The highest rate at which a server keeps its promise about latency, as MLPerf's Server scenario
asks for it: independent callers, and 99 of 100 answered within the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from loadtest.traffic.confidence import Interval, quantile_interval
from loadtest.traffic.sample import Sample
from loadtest.traffic.summary import all_ms, summary_of
from loadtest.traffic.trial import Load, Run, Trial

LATE = 0.01
"""Of all requests, that may take longer than the target, or fail."""

HOPELESS = 3 * LATE
"""A step ends once so many of its requests are late: those to come can't save it."""

CAPACITY_CALLERS = 16
"""In a closed loop, to learn where to search."""

PRECISION = 0.04
"""The search ends when it lies between two rates that differ by this share."""

LEAST_REQUESTS = 100
"""That are expected of a step: fewer have no 99th percentile. Lower rates take longer."""

LEAST_SHARE = 0.02
"""Of the capacity: below it the search gives up."""

CONFIRMED_BY = 2.0
"""How much longer than a step the runs are that confirm a rate."""

MOST_DOWN = 0.5
"""From one rate that was not confirmed to the next: PRECISION at first, twice as far each time."""


@dataclass(frozen=True)
class Found:
    """The highest rate that met the target, 0 if none did, and all that was run on the way.

    `qps.low`: the highest rate below it that is met for sure, by the runs from there up to the
    answer, 0 if none; `qps.high`: the lowest that is too much for sure, by the runs from the answer
    up to there. Sure: not one search in twenty says what is false.
    """

    qps: Interval
    capacity: float
    trials: Sequence[Trial]


@dataclass
class _Step:
    rate: float
    latencies_ms: list[float]
    """By request, in the order of time. A step that ended early has the rest of its requests, too,
    as if they had been answered at once."""
    met: bool


@dataclass
class _Hopeless:
    """An `Enough`: too many are late already."""

    target_ms: float
    most: float
    seen: int = 0
    late: int = 0

    def __call__(self, ended: Sequence[Sample]) -> bool:
        self.late += sum(one > self.target_ms for one in all_ms(ended[self.seen :]))
        self.seen = len(ended)
        return self.late > self.most


class Search:
    """Looks for the highest rate; a step of it is `load` at a rate."""

    def __init__(self, run: Run, target_ms: float, load: Load, scale: int | None = None) -> None:
        self._run, self._target_ms, self._load, self._scale = run, target_ms, load, scale
        self._steps: list[_Step] = []
        self._trials: list[Trial] = []

    async def find(self) -> Found:
        """What was found; what there is, if it is stopped."""
        capacity = await self._capacity()
        best = 0.0
        if capacity > 0:
            best = await self._bisected(capacity)
            best = await self._confirmed(best, LEAST_SHARE * capacity)
        return Found(self._interval(best), capacity, self._trials)

    async def _capacity(self) -> float:
        load = replace(self._load, rate=None, callers=CAPACITY_CALLERS)
        load = replace(load, seconds=self._load.seconds / 3)
        trial = await self._run.run(load, self._scale)
        self._trials.append(trial)
        return summary_of(trial).answered_per_s.value

    async def _bisected(self, capacity: float) -> float:
        """A rate that met the target, next to one that did not; 0 if none does."""
        low, high, tried = 0.0, capacity, False
        while self._apart(low, high):
            if high < LEAST_SHARE * capacity:
                return 0.0
            rate = (low + high) / 2
            if await self._meets(rate):
                low = rate
            else:
                high, tried = rate, True
            if not tried and high - low <= PRECISION * high:
                # More callers may get more of it: larger batches.
                high *= 2
        return low

    async def _confirmed(self, rate: float, least: float) -> float:
        """The rate, or the highest below it, at which a longer run met the target too."""
        low, high, down = 0.0, rate, PRECISION
        while rate >= least and self._apart(low, high):
            met = await self._meets(rate, CONFIRMED_BY)
            if self._run.stopped:
                break
            if met:
                low = rate
            else:
                high = rate
            if low:
                rate = (low + high) / 2
            else:
                rate, down = high * (1 - down), min(2 * down, MOST_DOWN)
        if not low and self._run.stopped:
            rates = [step.rate for step in self._steps if step.met and step.rate <= rate]
            return max(rates, default=0.0)
        return low

    def _apart(self, low: float, high: float) -> bool:
        """Whether there is something to look for between two rates."""
        return not self._run.stopped and low < high * (1 - PRECISION)

    async def _meets(self, rate: float, times: float = 1.0) -> bool:
        """Whether a step does that is so many times as long; False if it was stopped."""
        seconds = times * max(self._load.seconds, LEAST_REQUESTS / rate)
        load = replace(self._load, rate=rate, callers=None, seconds=seconds)
        planned = round(rate * seconds)
        # Other arrivals at each step, or all of them would share one chance.
        load = replace(load, seed=self._load.seed + len(self._steps))
        hopeless = _Hopeless(self._target_ms, HOPELESS * planned)
        trial = await self._run.run(load, self._scale, hopeless)
        self._trials.append(trial)
        if self._run.stopped or not trial.samples:
            return False
        latencies_ms = all_ms(trial.samples)
        if hopeless.late > hopeless.most:
            latencies_ms += [0.0] * (planned - len(latencies_ms))
        late = sum(one > self._target_ms for one in latencies_ms)
        met = late <= LATE * len(latencies_ms)
        self._steps.append(_Step(rate, latencies_ms, met))
        return met

    def _interval(self, best: float) -> Interval:
        """The answer between the rates that are sure.

        A higher rate makes no fewer late: the percentile of the runs at rates from `rate` up is at
        least that at `rate`, and of the runs at rates up to `rate` at most. The answer itself is
        never sure: it was chosen for the luck of its runs. Intervals of the share of late requests
        would not do: they come in bursts, and a run with none of them does not show how long.
        """
        rates = sorted({step.rate for step in self._steps})
        target_ms = self._target_ms

        def safe(rate: float) -> bool:
            return self._p99([one for one in rates if rate <= one <= best]).high <= target_ms

        def lost(rate: float) -> bool:
            return self._p99([one for one in rates if best < one <= rate]).low > target_ms

        low = max((rate for rate in rates if rate < best and safe(rate)), default=0.0)
        high = min((rate for rate in rates if rate > best and lost(rate)), default=math.inf)
        return Interval(best, low, high)

    def _p99(self, rates: Sequence[float]) -> Interval:
        """Of the latencies in ms of all steps at these rates."""
        steps = [step.latencies_ms for step in self._steps if step.rate in rates]
        return quantile_interval([one for step in steps for one in step], 1.0 - LATE)
