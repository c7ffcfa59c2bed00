"""The figures of a trial: how fast, how many, and what became of the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.traffic.confidence import (
    Interval,
    mean_interval,
    quantile_interval,
    rank,
    share_interval,
)
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Trial

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)

PARTS = 40
"""That the counted seconds are cut into, to see how the rate of answers varies."""


@dataclass(frozen=True)
class Stage:
    """What a stage of the server took, in ms, over the answers that tell it."""

    mean_ms: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Server:
    """Requests that went to one of several servers, and how many of them it answered."""

    sent: int
    ok: int


@dataclass(frozen=True)
class Summary:
    """A trial in figures. Latencies are of the requests that were answered, from their intended
    start; a percentile is there if at least one request in so many is above it.

    `answered_per_s`: answers that came in the counted seconds, over these. `good_per_s`: requests
    that were answered within the target, over the seconds in which they were to start; `good`: the
    share of all requests that were. Both None without a target. `lag_p99_ms`: how late the load
    test itself was. `batches`: answers by the size of the batch that they were in.
    """

    sent: int
    outcomes: Mapping[Outcome, int]
    reasons: Mapping[str, int]
    answered_per_s: Interval
    mean_ms: Interval | None
    percentiles_ms: Mapping[float, Interval]
    slowest_ms: float | None
    stages: Mapping[str, Stage]
    batches: Mapping[int, int]
    servers: Mapping[int, Server]
    lag_p99_ms: float
    client_cores: float
    good_per_s: Interval | None = None
    good: Interval | None = None

    @property
    def ok(self) -> int:
        """Requests that were answered."""
        return self.outcomes.get(Outcome.OK, 0)

    @property
    def failed(self) -> int:
        """Requests that were not, whatever the reason."""
        return self.sent - self.ok


def summary_of(trial: Trial, target_ms: float | None = None) -> Summary:
    """The figures of a trial, with goodput where there is a target for the latency."""
    samples = trial.samples
    answered = [sample for sample in samples if sample.outcome is Outcome.OK]
    latencies_ms = [1e3 * sample.latency for sample in answered]
    return Summary(
        sent=len(samples),
        outcomes=Counter(sample.outcome for sample in samples),
        reasons=Counter(
            sample.why or sample.outcome.value
            for sample in samples
            if sample.outcome is not Outcome.OK
        ),
        answered_per_s=_answered_per_s(trial, answered),
        mean_ms=mean_interval(latencies_ms) if latencies_ms else None,
        percentiles_ms=percentiles_of(latencies_ms),
        slowest_ms=max(latencies_ms, default=None),
        stages=_stages(answered),
        batches=Counter(sample.batch for sample in answered if sample.batch is not None),
        servers=_servers(samples),
        lag_p99_ms=1e3 * _quantile([sample.lag for sample in samples], 0.99) if samples else 0.0,
        client_cores=trial.client_cores,
        good_per_s=_good_per_s(trial, target_ms) if target_ms is not None else None,
        good=_good(samples, target_ms) if target_ms is not None and samples else None,
    )


def percentiles_of(latencies_ms: Sequence[float]) -> dict[float, Interval]:
    """Percentiles by their number, of values in the order of time: those that so many can show."""
    return {
        percent: quantile_interval(latencies_ms, percent / 100)
        for percent in PERCENTILES
        if len(latencies_ms) * (100 - percent) >= 100 - 1e-6
    }


def all_ms(samples: Sequence[Sample]) -> list[float]:
    """The latencies of all requests in ms; one that was not answered has waited for ever."""
    return [
        1e3 * sample.latency if sample.outcome is Outcome.OK else math.inf for sample in samples
    ]


def _answered_per_s(trial: Trial, answered: Sequence[Sample]) -> Interval:
    """What the server really did: answers that came within the counted seconds.

    Those to requests of the warm-up are spread evenly over its beginning, as long as an answer
    takes, since when they came is not kept.
    """
    seconds = trial.load.seconds
    if seconds <= 0:
        return Interval(0.0, 0.0, math.inf)
    ends = [sample.ended for sample in answered if sample.ended <= seconds]
    if trial.carried:
        until = min(ends, default=seconds)
        ends += np.linspace(0.0, until, trial.carried).tolist()
    parts = min(PARTS, max(1, len(ends)))
    counts, _ = np.histogram(ends, parts, (0.0, seconds))
    rates = mean_interval((counts * parts / seconds).tolist())
    return Interval(rates.value, max(0.0, rates.low), rates.high)


def _good_per_s(trial: Trial, target_ms: float) -> Interval:
    if not trial.samples or trial.load.seconds <= 0:
        return Interval(0.0, 0.0, math.inf)
    share = _good(trial.samples, target_ms)
    rate = len(trial.samples) / trial.load.seconds
    return Interval(rate * share.value, rate * share.low, rate * share.high)


def _good(samples: Sequence[Sample], target_ms: float) -> Interval:
    return share_interval([one <= target_ms for one in all_ms(samples)])


def _stages(answered: Sequence[Sample]) -> dict[str, Stage]:
    times: dict[str, list[float]] = {}
    for sample in answered:
        for name, ms in sample.stages.items():
            times.setdefault(name, []).append(ms)
    return {
        name: Stage(float(np.mean(ms)), _quantile(ms, 0.5), _quantile(ms, 0.99))
        for name, ms in times.items()
    }


def _servers(samples: Sequence[Sample]) -> dict[int, Server]:
    sent = Counter(sample.server for sample in samples)
    ok = Counter(sample.server for sample in samples if sample.outcome is Outcome.OK)
    return {server: Server(sent[server], ok[server]) for server in sorted(sent)}


def _quantile(values: Sequence[float], p: float) -> float:
    return sorted(values)[rank(p, len(values))]
