"""How long a run has to be: until what it is made for is known well enough."""

from __future__ import annotations

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
    """An `Enough`: is half of the percentile's interval within a share of its value?

    Source: looks at growing lengths, Law and Carson, A sequential procedure for determining the
    length of a steady-state simulation, Operations Research 27 (1979).
    """

    percent: float
    within: float
    look_at: float = LEAST
    """The number of requests that have ended, at the next look."""

    def __call__(self, ended: Sequence[Sample]) -> bool:
        if len(ended) < self.look_at:
            return False
        self.look_at = len(ended) * GROWTH
        latencies = [
            sample.latency
            for sample in sorted(ended, key=lambda sample: sample.intended)
            if sample.outcome is Outcome.OK
        ]
        if not latencies:
            return False
        return quantile_interval(latencies, self.percent / 100).within <= self.within
