"""Swaps the bundle of a server under load: does any request fail, and does memory come back?

    python -m loadtest.cli.swaps --swaps 10

An open loop of requests; meanwhile the bundle is reloaded again and again, from --bundle and
--other in turns. It passes if every request is answered and every reload succeeds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from loadtest.bench.prepared import pictures_to_time
from loadtest.cli.rolling_restarts import free_ports
from loadtest.cli.soak import rss_mb
from loadtest.servers import RunningServer, running_server
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import Call, Client, open_client
from loadtest.traffic.loops import open_loop
from loadtest.traffic.sample import Outcome, Sample
from model.cores import available_cores
from model.errors import InputError
from model.machine import cpu_name
from service.settings import packaged_bundle

PAUSE_S = 5.0
"""Before and after each swap: what latency is compared with."""
TIMEOUT_S = 120.0


class Swap(NamedTuple):
    """One reload: when it was asked for and answered, and what was resident at both times."""

    began: float
    ended: float
    status: int
    mb_before: float
    mb_after: float


def swap(
    server: RunningServer, admin: str, client: Client, bundles: Sequence[Path], swaps: int
) -> list[Swap]:
    """Reloads one after the other."""
    done = []
    paused = threading.Event()
    for bundle, _ in zip(cycle(reversed(bundles)), range(swaps), strict=False):
        paused.wait(PAUSE_S)
        began, mb_before = client.now(), rss_mb(server.process.pid)
        answer = httpx.post(admin, json={"bundle": str(bundle.resolve())}, timeout=TIMEOUT_S)
        mb_after = rss_mb(server.process.pid)
        done.append(Swap(began, client.now(), answer.status_code, mb_before, mb_after))
    paused.wait(PAUSE_S)
    return done


async def measure(
    server: RunningServer, admin: str, args: argparse.Namespace, pictures: Sequence[bytes]
) -> tuple[list[Sample], list[Swap]]:
    """What became of the requests that came in during all swaps, and the swaps."""
    over = threading.Event()

    def times() -> Iterator[float]:
        for time in arrivals(args.rate, float("inf"), "poisson"):
            if over.is_set():
                return
            yield time

    def call_of(number: int) -> Call:
        return Call(server.detect_url, pictures[number % len(pictures)])

    async with open_client(TIMEOUT_S) as client:

        async def swapped() -> list[Swap]:
            try:
                bundles = (args.bundle, args.other or args.bundle)
                return await asyncio.to_thread(swap, server, admin, client, bundles, args.swaps)
            finally:
                over.set()

        async with asyncio.TaskGroup() as group:
            swapping = group.create_task(swapped())
            sending = group.create_task(open_loop(client, times(), call_of))
    return sending.result(), swapping.result()


def latencies(samples: Sequence[Sample], swaps: Sequence[Swap], within: bool) -> str:
    """Percentiles of the requests that came during a swap, or of those that did not."""
    found = [
        sample.latency * 1e3
        for sample in samples
        if within is any(one.began <= sample.intended <= one.ended for one in swaps)
    ]
    if not found:
        return "no request"
    p50, p99 = np.percentile(found, (50, 99))
    return f"{len(found)} requests, p50 {p50:.0f} ms, p99 {p99:.0f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Swaps and prints; the exit code is 1 if a request or a reload failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=packaged_bundle(), help="(the packaged one)")
    parser.add_argument("--other", type=Path, help="what to swap with (the same bundle)")
    parser.add_argument("--swaps", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second (%(default)g)")
    parser.add_argument("--images", type=Path, help="folder of pictures (drawn scenes)")
    args = parser.parse_args(arguments)
    (port,) = free_ports(1)
    try:
        pictures, said = pictures_to_time(args.images)
        print(f"{cpu_name()}, {available_cores()} cores; {said}")
        with running_server("--bundle", str(args.bundle), "--admin-port", str(port)) as server:
            admin = f"http://127.0.0.1:{port}/admin/reload"
            samples, swaps = asyncio.run(measure(server, admin, args, pictures))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    failed = Counter(sample.why for sample in samples if sample.outcome is not Outcome.OK)
    refused = [one.status for one in swaps if one.status != 200]
    print(
        f"{len(swaps)} swaps of {np.mean([one.ended - one.began for one in swaps]):.1f} s, "
        f"{len(refused)} refused; {len(samples)} requests at {args.rate:g}/s: "
        f"{sum(failed.values())} failed {dict(failed) or ''}\n"
        f"during swaps: {latencies(samples, swaps, True)}\n"
        f"otherwise: {latencies(samples, swaps, False)}\n"
        f"resident: {', '.join(f'{one.mb_before:.0f}' for one in swaps)} MB before the swaps, "
        f"{', '.join(f'{one.mb_after:.0f}' for one in swaps)} MB after them"
    )
    return int(bool(failed or refused))


if __name__ == "__main__":
    sys.exit(main())
