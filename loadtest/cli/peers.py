"""The service beside servers of others around the same decoding and engine, on the same machine.

    python -m loadtest.cli.peers fastapi
    python -m loadtest.cli.peers fastapi litserve=.venv/litserve/bin/python --rounds 3

In turns, each started anew: what it adds when idle, what it does for 16 callers, and its latency at
70 % of what the best pipeline in process can do. The arrivals of a round are the same for all; each
line is of all rounds until then. A peer runs in the Python behind its `=`, where its own package is
and `pip install -e '.[cpu]'` was done.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export.engines.registry import open_session
from loadtest.bench.spread import Spread
from loadtest.cli.experiment import add_images, pictures_of, run_experiment
from loadtest.cli.service_speed import LOAD, alone, best_rate
from loadtest.cli.under_load import TIMEOUT_S, calls_in_turn, failures
from loadtest.peers.server import PEERS, PeerServer
from loadtest.protocols.protocol import Call
from loadtest.servers import Server
from loadtest.speed.pipeline import Pipeline
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import open_client
from loadtest.traffic.loops import closed_loop, open_loop
from loadtest.traffic.summary import all_ms
from model.cores import available_cores
from model.errors import InputError
from service.settings import packaged_bundle

OURS = "retinaserve"
WARM_UP_S = 2.0

Calls = Callable[[int], Call]


@dataclass
class Figures:
    """Of one server: a value a round, and the latencies of all rounds under load.

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
            f"idle +{Spread.of(self.added_ms).text(1)} ms; "
            f"{Spread.of(self.rates).text(1)} images/s; "
            f"under load p50 {p50:.0f}, p90 {p90:.0f}, p99 {p99:.0f} ms, {self.failed} failed"
        )


async def measure(
    calls: Calls,
    pipeline: Pipeline,
    rate: float,
    seed: int,
    found: Figures,
    args: argparse.Namespace,
) -> None:
    """One round with one server."""
    async with open_client(TIMEOUT_S) as client:
        await closed_loop(client, 2, WARM_UP_S, calls)
        plain, served = await alone(client, calls, pipeline, args)
        found.added_ms.append(served - plain)
        began = client.now()
        busy = await closed_loop(client, args.callers, args.seconds / 4, calls)
        answered = len(busy) - failures(busy).total()
        found.rates.append(answered / (client.now() - began))
        times = arrivals(rate, args.seconds, "poisson", seed)
        loaded = await open_loop(client, times, calls)
    found.loaded_ms += all_ms(loaded)
    found.failed += failures([*busy, *loaded]).total()


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("peers", nargs="+", metavar="PEER[=PYTHON]", help=f"of {', '.join(PEERS)}")
    add_images(parser)
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="under load (%(default)g)")
    parser.add_argument("--callers", type=int, default=16, help="when saturated (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    pythons = dict(chosen_of(text) for text in args.peers)
    args.pictures = pictures_of(args)
    pipeline = Pipeline(open_session(packaged_bundle(), threads=available_cores()), args.pictures)
    best = best_rate(pipeline, args.seconds / 2)
    print(f"in process {best:.1f} images/s; load {LOAD * best:.1f} requests/s", flush=True)
    figures = {name: Figures() for name in [OURS, *pythons]}
    for number in range(args.rounds):
        for name, found in figures.items():
            server = Server() if name == OURS else PeerServer(PEERS[name], pythons[name])
            with server:
                calls = calls_of(name, server, args.pictures)
                asyncio.run(measure(calls, pipeline, LOAD * best, number, found, args))
            print(f"{number + 1} of {args.rounds}: {name:12} {found.text()}", flush=True)
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
