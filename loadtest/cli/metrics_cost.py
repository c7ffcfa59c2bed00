"""What counting costs: requests a second of a server without engine, with metrics and without.

    python -m loadtest.cli.metrics_cost --rounds 20

Two servers take turns, so that whatever else the machine does meets both; the throughput of a pair
of turns gives one ratio. CPU time per request is what the server's process used: it is far less
disturbed by other processes than throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from loadtest.bench.spread import Spread
from loadtest.cli.experiment import machine, run_experiment
from loadtest.cli.under_load import TIMEOUT_S, calls_in_turn, checked
from loadtest.process import cpu_s
from loadtest.servers import Server
from loadtest.traffic.client import Client, open_client
from loadtest.traffic.loops import closed_loop
from model.synthetic.scene import draw_scene

WARM_S = 1.0


class Turn(NamedTuple):
    """Requests a second, and milliseconds of the server's CPU time for each."""

    rate: float
    cpu_ms: float


async def turn(client: Client, server: Server, body: bytes, seconds: float) -> Turn:
    """One server alone under closed-loop load."""
    cpu, began = cpu_s(server.process.pid), client.now()
    samples = await closed_loop(client, 8, seconds, calls_in_turn(server.detect_url, [body]))
    took, used = client.now() - began, cpu_s(server.process.pid) - cpu
    answers = len(checked(samples))
    return Turn(answers / took, used / answers * 1e3)


async def measure(
    counting: Server, silent: Server, rounds: int, seconds: float
) -> tuple[list[Turn], list[Turn]]:
    """The turns of both servers; who goes first changes each round."""
    out = io.BytesIO()
    Image.fromarray(draw_scene(1, (120, 160)).image).save(out, "JPEG", quality=90)
    body = out.getvalue()
    turns: dict[str, list[Turn]] = {counting.url: [], silent.url: []}
    async with open_client(TIMEOUT_S) as client:
        for server in (counting, silent):
            await turn(client, server, body, WARM_S)
        for number in range(rounds):
            for server in (counting, silent)[:: 1 if number % 2 else -1]:
                turns[server.url].append(await turn(client, server, body, seconds))
    return turns[counting.url], turns[silent.url]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--rounds", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn (%(default)g)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    with (
        Server(module="loadtest.speed.null_server") as counting,
        Server(module="loadtest.speed.silent_server") as silent,
    ):
        on, off = asyncio.run(measure(counting, silent, args.rounds, args.seconds))
    print(f"{machine()}, {args.rounds} rounds of {args.seconds:g} s")
    for name, turns in (("with metrics", on), ("without", off)):
        print(f"{name:14} {Spread.of([one.rate for one in turns]).text(0)} requests/s, "
              f"{Spread.of([one.cpu_ms for one in turns]).text(3)} ms of CPU each")  # fmt: skip
    for name, ratios in (
        ("throughput", [a.rate / b.rate for a, b in zip(on, off, strict=True)]),
        ("CPU time", [a.cpu_ms / b.cpu_ms for a, b in zip(on, off, strict=True)]),
    ):
        print(f"{name:14} {Spread.of(ratios).text(3)} of that without")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
