"""Does a server stay as it was? Mixed load for long, its memory and its counters meanwhile.

    python -m loadtest.cli.soak --minutes 30

Pictures of many sizes, broken files and callers who leave, at a share of what the server can do. It
passes if every good request is answered, every counter adds up, no shape ran unwarmed, and memory
does not grow: the slope after the first third is at most --most-mb-per-hour.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
import numpy as np
from tqdm import tqdm

from loadtest.cli.experiment import run_experiment
from loadtest.cli.under_load import TIMEOUT_S
from loadtest.process import memory_of
from loadtest.servers import Server
from loadtest.speed.mix import SHARES, Turn, mixed
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Client, open_client
from loadtest.traffic.pacer import Pacer
from loadtest.traffic.sample import Outcome
from model.errors import InputError
from model.machine import cpu_name

LOAD = 0.6
"""Of what the server does at most with this mix."""

TRIAL_S = 5.0
CALLERS = 8
PASSED_OVER = 1 / 3
"""Of the run, before the slope counts: every shape's memory and every thread has to be there."""


class Memory(NamedTuple):
    """MB resident at a second of the run."""

    second: float
    mb: float


@dataclass
class Log:
    """What happened."""

    ended: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    memory: list[Memory] = field(default_factory=list)


async def soak(server: Server, seconds: float, seed: int) -> tuple[Log, dict[str, float]]:
    """The log of a run, and the server's counters at its end."""
    log = Log()
    async with open_client(TIMEOUT_S) as client, aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/v1/models") as answer:
            scales = (await answer.json())["models"][0]["scales"]
        turns = mixed(server.detect_url, scales, seed)
        rate = LOAD * await _capacity(client, turns)
        print(f"{rate:.1f} requests/s for {seconds / 60:g} minutes: {SHARES}", flush=True)
        origin = client.now()
        watching = asyncio.create_task(_watch(server.process.pid, client, origin, seconds, log))
        async with asyncio.TaskGroup() as group:
            await Pacer(
                (origin + time for time in arrivals(rate, seconds, "poisson", seed)),
                client.now,
                lambda _, at: group.create_task(_take(client, next(turns), at, log)),
            ).run()
        await watching
        async with session.get(f"{server.url}/metrics") as answer:
            counters = counters_of(await answer.text())
    return log, counters


async def _capacity(client: Client, turns: Iterator[Turn]) -> float:
    """Turns a second that the server does when several callers keep it busy."""
    log, end, done = Log(), client.now() + TRIAL_S, 0

    async def caller() -> None:
        nonlocal done
        while client.now() < end:
            await _take(client, next(turns), client.now(), log)
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return done / TRIAL_S


async def _take(client: Client, turn: Turn, at: float, log: Log) -> None:
    sending = client.send(turn.call, at)
    if turn.leaves_s is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sending, turn.leaves_s)
        log.ended["leaving"] += 1
        return
    sample = await sending
    log.ended[turn.kind] += 1
    wanted = Outcome.OK if turn.kind == "good" else Outcome.CLIENT_ERROR
    if sample.outcome is not wanted:
        log.failures[f"{turn.kind}: {sample.outcome} {sample.why}".strip()] += 1


async def _watch(pid: int, client: Client, origin: float, seconds: float, log: Log) -> None:
    with tqdm(total=round(seconds), unit="s", disable=None) as bar:
        while (now := client.now() - origin) < seconds:
            log.memory.append(Memory(now, memory_of(pid).resident))
            bar.update(round(now) - bar.n)
            await asyncio.sleep(1.0)


def counters_of(text: str) -> dict[str, float]:
    """Sums of the detect route's counters by name and outcome, and the unseen shapes."""
    found: dict[str, float] = {}
    for name, labels, value in re.findall(r"^retinaserve_(\w+?)(?:\{(.*)\})? (\S+)$", text, re.M):
        if name in ("requests_total", "requests_received_total") and "/v1/detect" in labels:
            found[name] = found.get(name, 0.0) + float(value)
        if name == "unseen_shapes_total":
            found[name] = float(value)
    return found


def slope_mb_per_hour(memory: Sequence[Memory]) -> tuple[float, float]:
    """Growth by least squares, and its standard error from ten parts of the run.

    Neighbouring readings are anything but independent: the means of ten parts are nearly so.
    """
    late = np.array([point for point in memory if point.second >= memory[-1].second * PASSED_OVER])
    parts = np.array([part.mean(axis=0) for part in np.array_split(late, 10)])
    (slope, _), covariance = np.polyfit(parts[:, 0], parts[:, 1], 1, cov=True)
    return float(slope * 3600), float(np.sqrt(covariance[0, 0]) * 3600)


def verdict(
    log: Log, counters: dict[str, float], slope: float, error: float, most: float
) -> list[str]:
    """What is wrong, a sentence each; a slope counts where it is more than chance."""
    wrong = [f"{count} x {what}" for what, count in log.failures.items()]
    received, ended = counters["requests_received_total"], counters["requests_total"]
    if received != ended:
        wrong.append(f"{received:.0f} requests received, {ended:.0f} ended")
    if counters["unseen_shapes_total"]:
        wrong.append(f"{counters['unseen_shapes_total']:.0f} runs of a shape that was not warmed")
    if slope - 2 * error > most:
        wrong.append(f"memory grows by {slope:.1f} MB an hour; accepted are {most:g}")
    return wrong


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--minutes", type=float, default=30.0, help="(%(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--most-mb-per-hour", type=float, default=20.0, help="(%(default)g)")


def run(args: argparse.Namespace) -> int:
    """Soaks and prints; 1 if anything is wrong."""
    if args.minutes <= 0:
        raise InputError("--minutes: accepted are numbers above 0")
    with Server() as server:
        log, counters = asyncio.run(soak(server, args.minutes * 60, args.seed))
    slope, error_mb = slope_mb_per_hour(log.memory)
    first, last = log.memory[0].mb, log.memory[-1].mb
    print(f"{cpu_name()}; {dict(log.ended)}")
    print(f"memory {first:.0f} MB at first, {last:.0f} MB at last, most "
          f"{max(point.mb for point in log.memory):.0f}; slope after the first third "
          f"{slope:+.1f} +- {error_mb:.1f} MB an hour")  # fmt: skip
    wrong = verdict(log, counters, slope, error_mb, args.most_mb_per_hour)
    print("\n".join(wrong) or "all good requests answered, all counters add up")
    return int(bool(wrong))


def main(arguments: Sequence[str] | None = None) -> int:
    """Soaks and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
