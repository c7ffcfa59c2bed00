"""Why a study's figures may not be trusted, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from loadtest.traffic.run import title_of
from loadtest.traffic.summary import summary_of
from loadtest.traffic.trial import Kind, Trial

MOST_LAG = 0.1
"""Of the median latency, that the client may be late at its 99th percentile."""

LEAST_LAG_MS = 1.0
"""A client that is late by less does no harm, however fast the server."""

MOST_CORES = 0.9
"""One event loop has one core: near it, the client waits for itself."""

MOST_REASONS = 3
"""That are told, the most frequent first."""

BACKLOG_SIGMAS = 3.0
"""By so many standard deviations the backlog of a server at its capacity is above none by chance
less than once in a hundred runs; counts of independent arrivals and of answers vary by their
roots."""


def doubts_of(study_kind: Kind, trials: Sequence[Trial]) -> list[str]:
    """What speaks against a study's figures, by trial; nothing if nothing does."""
    doubts = []
    for trial in trials:
        # Of several runs, each says which it is.
        name = f"{title_of(trial.load, trial.scale)}: " if len(trials) > 1 else ""
        doubts += [name + doubt for doubt in _of_server(trial) if study_kind != "max-qps"]
        doubts += [name + doubt for doubt in _of_client(trial)]
    # A search goes to where servers fail, and judges by more than one run.
    if study_kind != "max-qps" and (loose := sum(map(_is_loose, trials))):
        where = f" in {loose} of {len(trials)} runs" if len(trials) > 1 else ""
        doubts.append(f"answers are too few to bound p99 from above{where}; a longer run can")
    return doubts


def _of_server(trial: Trial) -> Iterator[str]:
    if not trial.samples:
        yield "no request was counted"
        return
    summary = summary_of(trial)
    if summary.failed:
        reasons = sorted(summary.reasons.items(), key=lambda reason: -reason[1])
        told = ", ".join(f"{count} x {why}" for why, count in reasons[:MOST_REASONS])
        yield (
            f"{summary.failed} of {summary.sent} requests were not answered ({told}); "
            "the latencies are of the others"
        )
    if waiting := backlog(trial):
        yield (
            f"{waiting} of {summary.sent} requests still waited at the end: the rate is above what "
            "the server can do, and the longer the run, the higher its latencies"
        )


def _of_client(trial: Trial) -> Iterator[str]:
    if not trial.samples:
        return
    summary = summary_of(trial)
    median = summary.percentiles_ms.get(50.0)
    least = max(LEAST_LAG_MS, MOST_LAG * median.value if median else 0.0)
    if trial.load.rate is not None and summary.lag_p99_ms > least:
        yield (
            f"the load test itself was late by {summary.lag_p99_ms:.1f} ms at its p99, which the "
            "latencies include: it can't hold this rate here, or something else takes its CPU"
        )
    if trial.client_cores > MOST_CORES:
        yield (
            f"the load test took {trial.client_cores:.0%} of a core, nearly all that it can use: "
            "the server may be faster than this"
        )


def _is_loose(trial: Trial) -> bool:
    """Whether an open loop's p99 is not known to be below anything."""
    if trial.load.rate is None:
        return False
    p99 = summary_of(trial).percentiles_ms.get(99.0)
    return p99 is None or math.isinf(p99.high)


def backlog(trial: Trial) -> int:
    """Requests that waited at the end of an open loop, if more than chance leaves waiting; else 0.

    A server that refuses what it can't do has none.
    """
    if trial.load.rate is None:
        return 0
    waiting = sum(sample.ended > trial.load.seconds for sample in trial.samples)
    return waiting if waiting > BACKLOG_SIGMAS * math.sqrt(len(trial.samples)) else 0
