"""What the service adds to decoding and the engine: idle, saturated, at 70 % load, and by itself.

    python -m loadtest.cli.service_speed --rounds 5 --seconds 10

Server and plain pipeline run the same pictures in turns. The client runs on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from export.engines.registry import open_session
from loadtest.bench.spread import Spread
from loadtest.cli.experiment import add_images, pictures_of, run_experiment
from loadtest.cli.under_load import TIMEOUT_S, calls_in_turn, checked, throughput
from loadtest.protocols.protocol import Call
from loadtest.servers import Server
from loadtest.speed.null_server import small_picture
from loadtest.speed.pipeline import Pipeline
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Client, open_client
from loadtest.traffic.loops import closed_loop, open_loop
from model.cores import available_cores
from service.settings import packaged_bundle

LOAD = 0.7
ALONE_S = 0.25
"""Of a round, the share in which one caller is alone."""


async def measure(server: Server, pipeline: Pipeline, args: argparse.Namespace) -> None:
    """Prints what was measured of a server and the pipeline beside it."""
    idle_ms, added_ms, plain_ms, rates, shares = [], [], [], [], []
    calls = calls_in_turn(server.detect_url, args.pictures)
    async with open_client(TIMEOUT_S) as client:
        await closed_loop(client, 2, 1.0, calls)
        for _ in range(args.rounds):
            plain, one = await alone(client, calls, pipeline, args.seconds * ALONE_S)
            plain_ms.append(plain)
            idle_ms.append(one)
            added_ms.append(one - plain)
            # In a thread: connections that the server closes meanwhile have to be noticed.
            best = await asyncio.to_thread(best_rate, pipeline, args.seconds / 4)
            served = await throughput(client, args.callers, args.seconds / 2, calls)
            rates.append(served)
            shares.append(served / best)
        line("idle, ms", f"served {Spread.of(idle_ms).text()}, in process "
             f"{Spread.of(plain_ms).text()}, added {Spread.of(added_ms).text()}")  # fmt: skip
        line("saturated", f"{Spread.of(rates).text(1)} images/s, "
             f"{Spread.of(shares).text(3)} of the best pipeline in process")  # fmt: skip
        rate = LOAD * statistics.median(rates)
        times = arrivals(rate, args.seconds * args.rounds, "poisson")
        samples = checked(await open_loop(client, times, calls))
        latencies = [sample.latency * 1e3 for sample in samples]
        p50, p99 = np.percentile(latencies, (50, 99))
        service = 1e3 / statistics.median(rates)
        line(f"{LOAD:.0%} load, open", f"{rate:.1f}/s, {len(latencies)} requests: p50 {p50:.0f} ms,"
             f" p99 {p99:.0f} ms, {p99 / service:.1f} service times")  # fmt: skip


def best_rate(pipeline: Pipeline, seconds: float) -> float:
    """Images a second in process, by the batch size that is best, so many seconds for each."""
    return max(pipeline.rate(batch, seconds) for batch in (1, 2))


async def alone(
    client: Client, calls: Callable[[int], Call], pipeline: Pipeline, seconds: float
) -> tuple[float, float]:
    """The median ms of a picture in process and over HTTP, in turns, nothing beside it."""
    plain, served = [], []
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end or number < len(pipeline.pictures):
        plain.append(pipeline.alone(number))
        (sample,) = checked([await client.send(calls(number), client.now())])
        served.append(sample.latency)
        number += 1
    return statistics.median(plain) * 1e3, statistics.median(served) * 1e3


async def measure_null(args: argparse.Namespace) -> None:
    """Prints requests a second of a server without an engine."""
    body = small_picture()
    padded = body[:2] + segments(10_000 - len(body)) + body[2:]
    with Server(module="loadtest.speed.null_server") as server:
        calls = calls_in_turn(server.detect_url, [padded])
        async with open_client(TIMEOUT_S) as client:
            await closed_loop(client, args.callers, 1.0, calls)
            cpu, began = time.process_time(), client.now()
            rate = await throughput(client, args.callers, args.seconds, calls)
            share = (time.process_time() - cpu) / (client.now() - began)
    line("no engine", f"{rate:.0f} requests/s of {len(padded):,} bytes (JPEG of 160x128 pixels), "
         f"{args.callers} callers; the client took {share:.0%} of a core")  # fmt: skip


def segments(count: int) -> bytes:
    """So many bytes of JPEG comment."""
    return b"\xff\xfe" + (count - 2).to_bytes(2, "big") + bytes(count - 4) if count > 4 else b""


def line(name: str, text: str) -> None:
    """One row of the report."""
    print(f"{name:16} {text}", flush=True)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_images(parser)
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round (%(default)g)")
    parser.add_argument("--callers", type=int, default=16, help="when saturated (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    args.pictures = pictures_of(args)
    with Server() as server:
        session = open_session(packaged_bundle(), threads=available_cores())
        asyncio.run(measure(server, Pipeline(session, args.pictures), args))
    asyncio.run(measure_null(args))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
