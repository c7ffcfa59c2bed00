"""The highest rate at which a server keeps its promise about latency, as MLPerf's Server scenario
asks for it: independent callers, and 99 of 100 answered within the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from loadtest.traffic.confidence import Interval, share_interval
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
"""Of a step: fewer have no 99th percentile. Lower rates take longer."""

LEAST_SHARE = 0.02
"""Of the capacity: below it the search gives up."""

CONFIRMED_BY = 2.0
"""How much longer than a step the runs are that confirm a rate."""

MOST_DOWN = 0.5
"""From one rate that was not confirmed to the next: PRECISION at first, twice as far each time."""


@dataclass(frozen=True)
class Found:
    """The highest rate that met the target, 0 if none did, and all that was run on the way.

    `qps.low`: the highest rate of which the runs at it and above it leave no doubt, 0 if none;
    `qps.high`: the lowest of which there is no doubt that it is too much.
    """

    qps: Interval
    capacity: float
    trials: Sequence[Trial]


@dataclass
class _Step:
    rate: float
    late: list[bool]
    """By request, in the order of time. A step that ended early has the rest of its requests, too,
    as if they had been on time."""

    @property
    def met(self) -> bool:
        return sum(self.late) <= LATE * len(self.late)


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
            if await self._meets(rate, self._load.seconds):
                low = rate
            else:
                high, tried = rate, True
            if not tried and high - low <= PRECISION * high:
                # More callers may get more of it: larger batches.
                high *= 2
        return low

    async def _confirmed(self, rate: float, least: float) -> float:
        """The rate, or the highest below it, at which a longer run met the target too."""
        seconds = CONFIRMED_BY * self._load.seconds
        low, high, down = 0.0, rate, PRECISION
        while rate >= least and self._apart(low, high):
            if await self._meets(rate, seconds):
                low = rate
            else:
                high = rate
            if low:
                rate = (low + high) / 2
            else:
                rate, down = high * (1 - down), min(2 * down, MOST_DOWN)
        if not low and self._run.stopped:
            met = [step.rate for step in self._steps if step.met and step.rate <= rate]
            return max(met, default=0.0)
        return low

    def _apart(self, low: float, high: float) -> bool:
        """Whether there is something to look for between two rates."""
        return not self._run.stopped and low < high * (1 - PRECISION)

    async def _meets(self, rate: float, seconds: float) -> bool:
        seconds = max(seconds, LEAST_REQUESTS / rate)
        load = replace(self._load, rate=rate, callers=None, seconds=seconds)
        planned = round(rate * seconds)
        # Other arrivals at each step, or all of them would share one chance.
        load = replace(load, seed=self._load.seed + len(self._steps))
        hopeless = _Hopeless(self._target_ms, HOPELESS * planned)
        trial = await self._run.run(load, self._scale, hopeless)
        self._trials.append(trial)
        if self._run.stopped or not trial.samples:
            return False
        late = [one > self._target_ms for one in all_ms(trial.samples)]
        if hopeless.late > hopeless.most:
            late += [False] * (planned - len(late))
        step = _Step(rate, late)
        self._steps.append(step)
        return step.met

    def _interval(self, best: float) -> Interval:
        rates = sorted({step.rate for step in self._steps})
        safe = [rate for rate in rates if rate <= best and self._share(rate, best).high <= LATE]
        lost = [rate for rate in rates if rate > best and self._share(best, rate, False).low > LATE]
        return Interval(best, max(safe, default=0.0), min(lost, default=float("inf")))

    def _share(self, low: float, high: float, with_low: bool = True) -> Interval:
        """The share of late requests at rates between two.

        A higher rate makes no fewer late: so many at rates from `low` up are at least as many as at
        `low`, and so many at rates up to `high` at most as many as at `high`.
        """
        late = [
            flag
            for step in self._steps
            if (low <= step.rate if with_low else low < step.rate) and step.rate <= high
            for flag in step.late
        ]
        return share_interval(late)
