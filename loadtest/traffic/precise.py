"""How long a run has to be: until what it is made for is known well enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.traffic.confidence import quantile_interval
from loadtest.traffic.sample import Outcome, Sample

LEAST = 200
"""Answers before the first look: an interval from a few may be narrow by chance."""

GROWTH = 1.25
"""Between two looks. Who looks often ends, some time, at an interval that is narrow by chance."""


@dataclass
class Precise:
    """An `Enough`: does the percentile's interval reach no further than a share of its value?

    Source: looks at growing lengths, Law and Carson, A sequential procedure for determining the
    length of a steady-state simulation, Operations Research 27 (1979).
    """

    percent: float
    within: float
    look_at: float = LEAST
    """The number of requests that have ended, at the next look."""
    reached: bool = False
    """Whether it was, at the last look; requests that end after it may widen the interval again."""

    def __call__(self, ended: Sequence[Sample]) -> bool:
        if len(ended) < self.look_at:
            return False
        self.look_at = len(ended) * GROWTH
        self.reached = self.reach(ended) <= self.within
        return self.reached

    def reach(self, samples: Sequence[Sample]) -> float:
        """Of the interval to its wider side, over the value; infinite if only more could tell."""
        latencies = [
            sample.latency
            for sample in sorted(samples, key=lambda sample: sample.intended)
            if sample.outcome is Outcome.OK
        ]
        return quantile_interval(latencies, self.percent / 100).within if latencies else math.inf

    def shortfall(self, samples: Sequence[Sample], seconds: float) -> str | None:
        """Why all samples of a run of at most so many seconds are not precise enough, if so."""
        reach = self.reach(samples)
        if reach <= self.within:
            return None
        width = f"reaches {100 * reach:,.1f} %" if math.isfinite(reach) else "has no upper end"
        if self.reached:
            return (
                f"the run ended when the 95 % interval of p{self.percent:g} reached "
                f"{100 * self.within:g} % to either side, but with the requests that were still "
                f"under way it {width}: a finer --precision runs for longer"
            )
        return (
            f"after {seconds:g} s the 95 % interval of p{self.percent:g} {width}; "
            f"{100 * self.within:g} % to either side were asked for, which takes more --seconds, "
            "or fewer stalls"
        )
