"""Runs what a wish takes, and gathers what it found out."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from loadtest.protocols.protocol import DetectorProtocol
from loadtest.traffic.accuracy import AP, measured_ap
from loadtest.traffic.doubts import doubts_of
from loadtest.traffic.inputs import Inputs
from loadtest.traffic.loadgen import NAMES, SUMMARY, Plan
from loadtest.traffic.mlperf import Mlperf
from loadtest.traffic.run import Runner
from loadtest.traffic.sample import Outcome
from loadtest.traffic.search import Search
from loadtest.traffic.summary import all_ms, percentiles_of, summary_of
from loadtest.traffic.sweeps import sweep_rates, sweep_scales
from loadtest.traffic.trial import Study, Trial, Watch
from loadtest.traffic.wish import Wish
from model.errors import InputError

SHARE = 0.7
"""Of a server's capacity, if nobody says how much load there is to be: a busy server's."""

CAPACITY_S = 4.0

HASTE = 1.5
"""Offline, LoadGen makes as many requests as are expected in the time it is to last, and a server
that turns out to be faster has not been measured for long enough."""

OFF, OFF_MS = 0.05, 1.0
"""By so much our percentiles may differ from LoadGen's, as a share or by so many ms."""


@dataclass
class _Found:
    """What was found out so far."""

    trials: list[Trial] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    found: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    stopped: bool = False


async def study_of(
    wish: Wish,
    protocol: DetectorProtocol,
    inputs: Inputs,
    facts: Mapping[str, str],
    watch: Watch | None = None,
) -> Study:
    """What was found out. The first interruption ends it with what there is by then."""
    if wish.kind == "mlperf":
        found = await _mlperf(wish, protocol, inputs, watch)
    else:
        found = await _runs(wish, protocol, inputs, watch)
    warnings = found.warnings
    if found.stopped:
        warnings.append("interrupted: this is what had been measured by then")
    warnings += doubts_of(wish.kind, found.trials)
    return Study(
        wish.kind,
        {**facts, **found.facts},
        found.trials,
        found.found,
        warnings,
        wish.p99_ms,
        found.stopped,
    )


def met(study: Study) -> bool:
    """Whether the target was met that was given, if one was: by a sweep of rates, at each."""
    if study.kind == "max-qps":
        return study.found["max_qps"] > 0
    if study.kind == "mlperf":
        return study.found["valid"] > 0
    if study.kind in ("load", "rates") and study.p99_ms is not None:
        # Fewer requests than the 99th percentile needs have not met it.
        p99s = [percentiles_of(all_ms(trial.samples)).get(99.0) for trial in study.trials]
        return all(p99 is not None and p99.value <= study.p99_ms for p99 in p99s)
    return True


async def _runs(
    wish: Wish, protocol: DetectorProtocol, inputs: Inputs, watch: Watch | None
) -> _Found:
    runner, found = Runner(protocol, inputs.pictures, watch), _Found()
    with _interrupted(runner):
        if wish.kind == "max-qps":
            await _search(wish, runner, found)
        elif wish.kind == "scales":
            await _scales(wish, runner, protocol, inputs, watch, found)
        elif wish.kind == "rates":
            swept = await sweep_rates(runner, wish.rates, wish.load, wish.callers, wish.scale)
            found.trials += swept.trials
            if swept.capacity is not None:
                found.found["capacity"] = swept.capacity
        else:
            await _load(wish, runner, found)
    found.stopped = runner.stopped
    return found


async def _load(wish: Wish, runner: Runner, found: _Found) -> None:
    load = wish.load
    if load.rate is None and load.callers is None:
        busy = await runner.run(replace(load, callers=wish.callers, seconds=CAPACITY_S), wish.scale)
        capacity = summary_of(busy).answered_per_s.value
        if runner.stopped or not capacity:
            found.trials.append(busy)
            return
        load = replace(load, rate=SHARE * capacity)
        found.facts["rate"] = (
            f"{SHARE:.0%} of the {capacity:.1f} answers a second that {wish.callers} callers got"
        )
    trial = await runner.run(load, wish.scale, wish.precise)
    found.trials.append(trial)
    if wish.precise and not runner.stopped:
        shortfall = wish.precise.shortfall(trial.samples, load.seconds)
        found.warnings += [shortfall] if shortfall else []


async def _scales(
    wish: Wish,
    runner: Runner,
    protocol: DetectorProtocol,
    inputs: Inputs,
    watch: Watch | None,
    found: _Found,
) -> None:
    data = inputs.data

    async def accuracy(scale: int) -> AP:
        assert data is not None
        try:
            return await measured_ap(protocol, data, scale, watch, lambda: runner.stopped)
        except InputError as error:
            # What has been timed is worth a report without it.
            found.warnings.append(f"no AP at scale {scale}: {error}")
            return None, None

    found.trials += await sweep_scales(
        runner, wish.scales, wish.load, wish.callers, accuracy if data else None
    )


async def _search(wish: Wish, runner: Runner, found: _Found) -> None:
    assert wish.p99_ms is not None
    result = await Search(runner, wish.p99_ms, wish.load, wish.scale).find()
    found.trials += result.trials
    qps = result.qps
    found.found |= {"max_qps": qps.value, "low": qps.low, "capacity": result.capacity}
    if math.isfinite(qps.high):
        found.found["high"] = qps.high


async def _mlperf(
    wish: Wish, protocol: DetectorProtocol, inputs: Inputs, watch: Watch | None
) -> _Found:
    found = _Found()
    qps = wish.load.rate
    if qps is None and wish.scenario == "offline":
        runner = Runner(protocol, inputs.pictures, watch)
        busy = replace(wish.load, callers=wish.callers, seconds=CAPACITY_S)
        busy_trial = await runner.run(busy, wish.scale)
        qps = HASTE * summary_of(busy_trial).answered_per_s.value
    plan = Plan(
        wish.scenario,
        wish.load.seconds,
        wish.out,
        qps or 1.0,
        wish.p99_ms or 0.0,
        len(inputs.pictures),
        wish.load.seed,
    )
    mlperf = Mlperf(protocol, inputs.pictures, watch, wish.load.timeout_s)
    with _interrupted(mlperf):
        trial, verdict = await mlperf.run(plan, wish.scale)
    found.trials.append(trial)
    found.stopped = mlperf.stopped
    failed = sum(sample.outcome is not Outcome.OK for sample in trial.samples)
    if failed:
        found.warnings.append(
            f"LoadGen knows no failures and took {failed} for answers: its result does not count"
        )
    if verdict.reasons:
        found.warnings.append(f"LoadGen: {'; '.join(verdict.reasons)}")
    valid = verdict.valid and not failed and not mlperf.stopped
    found.found["valid"] = float(valid)
    found.facts["MLPerf"] = f"{NAMES[wish.scenario]}: {'VALID' if valid else 'INVALID'}"
    found.facts["LoadGen's files"] = str(wish.out / SUMMARY)
    _compare(trial, verdict.percentiles_ms, wish, found)
    return found


def _compare(trial: Trial, theirs: Mapping[float, float], wish: Wish, found: _Found) -> None:
    """Puts LoadGen's percentiles beside ours, and warns where they differ."""
    if wish.scenario == "offline":
        return  # its latencies there count from the beginning of all
    for percent, ms in theirs.items():
        found.found[f"LoadGen p{percent:g}, ms"] = ms
    ours = percentiles_of([1e3 * sample.latency for sample in trial.samples])
    off = [
        f"p{percent:g} {ours[percent].value:.1f} and {ms:.1f} ms"
        for percent, ms in theirs.items()
        if percent in ours and abs(ms - ours[percent].value) > max(OFF_MS, OFF * ms)
    ]
    if off:
        found.warnings.append(
            f"our clock and LoadGen's don't agree ({', '.join(off)}): LoadGen's begins when a "
            "request is due, ours when LoadGen hands it over; something takes the CPU from both"
        )


@contextmanager
def _interrupted(what: Runner | Mlperf) -> Iterator[None]:
    """The first Ctrl-C stops it, the second ends the command."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        what.stop()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
