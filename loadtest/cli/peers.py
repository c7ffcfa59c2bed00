"""The service beside servers of others around the same decoding and engine, on the same machine.

    python -m loadtest.cli.peers fastapi
    python -m loadtest.cli.peers fastapi litserve=.venv/litserve/bin/python --rounds 3

What each adds when idle, what it does for 16 callers, and its latency at 70 % of what the best
pipeline in process can do, with the same arrivals for all. All are started anew for a round, and
are measured in turns of seconds, the others stopped meanwhile, so that a spell of the machine meets
them all; each line is of all rounds until then. A peer runs in the Python behind its `=`, where its
own package is and `pip install -e '.[cpu]'` was done.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from export.engines.registry import open_session
from loadtest.bench.spread import Spread
from loadtest.cli.experiment import add_images, pictures_of, run_experiment
from loadtest.cli.service_speed import LOAD, alone, best_rate
from loadtest.cli.under_load import TIMEOUT_S, calls_in_turn, failures
from loadtest.peers.server import PEERS, PeerServer, awake, frozen
from loadtest.protocols.protocol import Call
from loadtest.servers import Server
from loadtest.speed.pipeline import Pipeline
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Client, open_client
from loadtest.traffic.loops import closed_loop, open_loop
from loadtest.traffic.summary import all_ms
from model.cores import available_cores
from model.errors import InputError
from service.settings import packaged_bundle

OURS = "retinaserve"
TURNS = 3
"""Of each kind, in a round."""
WARM_UP_S = 0.5
BEST_S = 4.0

Calls = Callable[[int], Call]


@dataclass
class Figures:
    """Of one server: a value a turn, and the latencies of all turns under load.

    Who is not answered has waited for ever.
    """

    added_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    loaded_ms: list[float] = field(default_factory=list)
    failed: int = 0

    def text(self) -> str:
        """One line."""
        p50, p90, p99 = np.percentile(self.loaded_ms, (50, 90, 99), method="higher")
        return (
            f"idle {Spread.of(self.added_ms).text(1)} ms added; "
            f"{Spread.of(self.rates).text(1)} images/s; "
            f"under load p50 {p50:.0f}, p90 {p90:.0f}, p99 {p99:.0f} ms, {self.failed} failed"
        )


class Contestant(NamedTuple):
    """A server that runs, how it is asked, and what was found of it."""

    server: Server
    calls: Calls
    found: Figures


class Round:
    """What all contestants are asked: alone beside the pipeline, by many callers, and at a rate."""

    def __init__(self, pipeline: Pipeline, rate: float, args: argparse.Namespace) -> None:
        self._pipeline, self._rate, self._callers = pipeline, rate, args.callers
        self._seconds = args.seconds / TURNS

    async def measure(self, contestants: Sequence[Contestant], first: int) -> None:
        """`TURNS` times each kind of turn; `first` is the number of the first of them."""
        for number in range(first, first + TURNS):
            for turn in (self._idle, self._saturated, self._loaded):
                for contestant in contestants:
                    with awake(contestant.server):
                        # Anew: a server that was stopped may have given up its connections.
                        async with open_client(TIMEOUT_S) as client:
                            await closed_loop(client, 2, WARM_UP_S, contestant.calls)
                            await turn(client, contestant, number)

    async def _idle(self, client: Client, its: Contestant, _: int) -> None:
        plain, served = await alone(client, its.calls, self._pipeline, self._seconds / 4)
        its.found.added_ms.append(served - plain)

    async def _saturated(self, client: Client, its: Contestant, _: int) -> None:
        began = client.now()
        samples = await closed_loop(client, self._callers, self._seconds / 2, its.calls)
        failed = failures(samples).total()
        its.found.rates.append((len(samples) - failed) / (client.now() - began))
        its.found.failed += failed

    async def _loaded(self, client: Client, its: Contestant, number: int) -> None:
        times = arrivals(self._rate, self._seconds, "poisson", seed=number)
        samples = await open_loop(client, times, its.calls)
        its.found.loaded_ms += all_ms(samples)
        its.found.failed += failures(samples).total()


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("peers", nargs="+", metavar="PEER[=PYTHON]", help=f"of {', '.join(PEERS)}")
    add_images(parser)
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="under load in a round (%(default)g)"
    )
    parser.add_argument("--callers", type=int, default=16, help="when saturated (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    pythons = dict(chosen_of(text) for text in args.peers)
    args.pictures = pictures_of(args)
    pipeline = Pipeline(open_session(packaged_bundle(), threads=available_cores()), args.pictures)
    figures = {name: Figures() for name in [OURS, *pythons]}
    for number in range(args.rounds):
        with ExitStack() as running:
            contestants = []
            for name, found in figures.items():
                server = Server() if name == OURS else PeerServer(PEERS[name], pythons[name])
                running.enter_context(frozen(server))
                contestants.append(Contestant(server, calls_of(name, server, args.pictures), found))
            best = best_rate(pipeline, BEST_S)
            asked = Round(pipeline, LOAD * best, args)
            asyncio.run(asked.measure(contestants, number * TURNS))
        print(f"{number + 1} of {args.rounds}: {best:.1f} images/s in process", flush=True)
        for name, found in figures.items():
            print(f"  {name:12} {found.text()}", flush=True)
    return 0


def chosen_of(text: str) -> tuple[str, str]:
    """A peer's name and its Python, of `NAME` or `NAME=PYTHON`."""
    name, _, python = text.partition("=")
    if name not in PEERS:
        raise InputError(f"{name!r} is no peer: accepted are {', '.join(PEERS)}")
    if python and not Path(python).is_file():
        raise InputError(f"{name}: there is no Python at {python}")
    return name, python or sys.executable


def calls_of(name: str, server: Server, pictures: Sequence[bytes]) -> Calls:
    """The call with a number: the pictures in turn."""
    if name == OURS:
        return calls_in_turn(server.detect_url, pictures)
    calls = [PEERS[name].call(server.url, picture) for picture in pictures]
    return lambda number: calls[number % len(calls)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
