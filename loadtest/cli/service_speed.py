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
from pathlib import Path

import numpy as np

from export.engines.registry import open_session
from loadtest.bench.prepared import pictures_to_time
from loadtest.bench.spread import Spread
from loadtest.servers import RunningServer, running_server
from loadtest.speed.pipeline import Pipeline
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Call, Client, open_client
from loadtest.traffic.loops import closed_loop, open_loop
from loadtest.traffic.sample import Outcome, Sample
from model.cores import available_cores
from model.errors import InputError
from model.machine import cpu_name
from model.synthetic.scene import draw_scene
from service.settings import packaged_bundle

LOAD = 0.7
TIMEOUT_S = 30.0
ALONE_S = 0.25
"""Of a round, the share in which one caller is alone."""


async def measure(server: RunningServer, pipeline: Pipeline, args: argparse.Namespace) -> None:
    """Prints what was measured of a server and the pipeline beside it."""
    idle_ms, added_ms, plain_ms, rates, shares = [], [], [], [], []
    async with open_client(TIMEOUT_S) as client:
        await closed_loop(client, 2, 1.0, call_of(server.detect_url, args.pictures))
        for _ in range(args.rounds):
            plain, one = await alone(client, server, pipeline, args)
            plain_ms.append(plain)
            idle_ms.append(one)
            added_ms.append(one - plain)
            # In a thread: connections that the server closes meanwhile have to be noticed.
            best = await asyncio.to_thread(best_rate, pipeline, args.seconds / 4)
            served = await saturated(client, server.detect_url, args)
            rates.append(served)
            shares.append(served / best)
        line("idle, ms", f"served {Spread.of(idle_ms).text()}, in process "
             f"{Spread.of(plain_ms).text()}, added {Spread.of(added_ms).text()}")  # fmt: skip
        line("saturated", f"{Spread.of(rates).text(1)} images/s, "
             f"{Spread.of(shares).text(3)} of the best pipeline in process")  # fmt: skip
        rate = LOAD * statistics.median(rates)
        samples = await open_loop(
            client,
            arrivals(rate, args.seconds * args.rounds, "poisson"),
            call_of(server.detect_url, args.pictures),
        )
        latencies = [sample.latency * 1e3 for sample in checked(samples)]
        p50, p99 = np.percentile(latencies, (50, 99))
        service = 1e3 / statistics.median(rates)
        line(f"{LOAD:.0%} load, open", f"{rate:.1f}/s, {len(latencies)} requests: p50 {p50:.0f} ms,"
             f" p99 {p99:.0f} ms, {p99 / service:.1f} service times")  # fmt: skip


def best_rate(pipeline: Pipeline, seconds: float) -> float:
    """Images a second in process, by the batch size that is best, so many seconds for each."""
    return max(pipeline.rate(batch, seconds) for batch in (1, 2))


async def alone(
    client: Client, server: RunningServer, pipeline: Pipeline, args: argparse.Namespace
) -> tuple[float, float]:
    """The median ms of a picture in process and over HTTP, in turns, nothing beside it."""
    call = call_of(server.detect_url, args.pictures)
    plain, served = [], []
    end = time.monotonic() + args.seconds * ALONE_S
    number = 0
    while time.monotonic() < end or number < len(args.pictures):
        plain.append(pipeline.alone(number))
        sample = await client.send(call(number), client.now())
        served += [one.latency for one in checked([sample])]
        number += 1
    return statistics.median(plain) * 1e3, statistics.median(served) * 1e3


async def saturated(client: Client, url: str, args: argparse.Namespace) -> float:
    """Answers a second with as many callers as keep the server busy."""
    began = client.now()
    samples = await closed_loop(client, args.callers, args.seconds / 2, call_of(url, args.pictures))
    return len(checked(samples)) / (client.now() - began)


async def measure_null(args: argparse.Namespace) -> None:
    """Prints requests a second of a server without an engine."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(draw_scene(1, (128, 160)).image).save(out, "JPEG", quality=90)
    body = out.getvalue()
    padded = body[:2] + segments(10_000 - len(body)) + body[2:]
    with running_server(module=["loadtest.speed.null_server"]) as server:
        async with open_client(TIMEOUT_S) as client:
            await closed_loop(client, args.callers, 1.0, lambda _: Call(server.detect_url, padded))
            cpu, began = time.process_time(), client.now()
            samples = await closed_loop(
                client, args.callers, args.seconds, lambda _: Call(server.detect_url, padded)
            )
            seconds = client.now() - began
            share = (time.process_time() - cpu) / seconds
    rate = len(checked(samples)) / seconds
    line("no engine", f"{rate:.0f} requests/s of {len(padded):,} bytes (JPEG of 160x128 pixels), "
         f"{args.callers} callers; the client took {share:.0%} of a core")  # fmt: skip


def segments(count: int) -> bytes:
    """So many bytes of JPEG comment."""
    return b"\xff\xfe" + (count - 2).to_bytes(2, "big") + bytes(count - 4) if count > 4 else b""


def call_of(url: str, pictures: Sequence[bytes]) -> Callable[[int], Call]:
    """The call with a number: the pictures in turn."""
    return lambda number: Call(url, pictures[number % len(pictures)])


def checked(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples; InputError unless all were answered."""
    if bad := [sample for sample in samples if sample.outcome is not Outcome.OK]:
        raise InputError(f"{len(bad)} of {len(samples)} requests failed, one by: {bad[0].why}")
    return samples


def line(name: str, text: str) -> None:
    """One row of the report."""
    print(f"{name:16} {text}", flush=True)


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="folder of pictures (drawn scenes)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round (%(default)g)")
    parser.add_argument("--callers", type=int, default=16, help="when saturated (%(default)s)")
    args = parser.parse_args()
    try:
        args.pictures, said = pictures_to_time(args.images)
        print(f"{cpu_name()}, {available_cores()} cores; {said}")
        with running_server() as server:
            pipeline = Pipeline(
                open_session(packaged_bundle(), threads=available_cores()), args.pictures
            )
            asyncio.run(measure(server, pipeline, args))
        asyncio.run(measure_null(args))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
