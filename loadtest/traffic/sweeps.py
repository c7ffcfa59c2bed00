"""Runs of load along one axis: input scales, or rates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from loadtest.traffic.accuracy import AP
from loadtest.traffic.summary import summary_of
from loadtest.traffic.trial import Load, Run, Trial
from model.errors import InputError

SHARES = (0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the capacity: closer together where latency bends."""

CAPACITY_SHARE = 1 / 3
"""Of a run's length, what finding the capacity takes."""

Accuracy = Callable[[int], Awaitable[AP]]
"""AP and AP50 at a scale."""


async def sweep_scales(
    run: Run,
    scales: Sequence[int],
    load: Load,
    callers: int,
    accuracy: Accuracy | None = None,
) -> list[Trial]:
    """Two trials for each scale: latency at an idle server, and throughput.

    Latency is that of one caller, who sends when the answer before is there, so that nobody
    queues: what the paper's Table 1e times, plus decoding and HTTP. Throughput is that of `callers`
    at once, enough to keep the server busy; their latency tells how long they queued, and nothing
    of the scale. Both are closed loops, and neither is what independent callers see at some rate:
    that is a sweep of rates. `load` gives the seconds and the warm-up of each.

    Every trial of a scale has its AP, where `accuracy` is given. Once `run` is stopped, scales that
    were not begun are left out.
    """
    trials: list[Trial] = []
    for scale in scales:
        of_scale = []
        for count in (1, callers):
            if run.stopped:
                break
            of_scale.append(await run.run(replace(load, rate=None, callers=count), scale))
        if accuracy and not run.stopped:
            ap, ap50 = await accuracy(scale)
            of_scale = [replace(trial, ap=ap, ap50=ap50) for trial in of_scale]
        trials += of_scale
    return trials


@dataclass(frozen=True)
class RateSweep:
    """A trial for each rate; `capacity`: answers a second of a busy server, where it was asked."""

    trials: list[Trial]
    capacity: float | None = None


async def sweep_rates(
    run: Run, rates: Sequence[float] | None, load: Load, callers: int, scale: int | None = None
) -> RateSweep:
    """An open loop at each rate, the lowest first: latency against load.

    Without rates they are `SHARES` of the capacity, which `callers` at once find out. InputError if
    they get no answer.
    """
    capacity = None
    if rates is None:
        busy = replace(load, rate=None, callers=callers, seconds=load.seconds * CAPACITY_SHARE)
        capacity = summary_of(await run.run(busy, scale)).answered_per_s.value
        if not capacity:
            raise InputError(f"{callers} callers at once got no answer: there is no capacity")
        rates = [share * capacity for share in SHARES]
    trials = []
    for rate in sorted(rates):
        if run.stopped:
            break
        trials.append(await run.run(replace(load, rate=rate, callers=None), scale))
    return RateSweep(trials, capacity)
