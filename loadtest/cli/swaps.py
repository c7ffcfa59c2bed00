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
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from loadtest.cli.experiment import add_images, pictures_of, run_experiment
from loadtest.cli.under_load import calls_in_turn, failures, load_while
from loadtest.ports import free_ports
from loadtest.process import memory_of
from loadtest.servers import Server
from loadtest.traffic.sample import Sample
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
    server: Server, admin: str, now: Callable[[], float], bundles: Sequence[Path], swaps: int
) -> list[Swap]:
    """Reloads one after the other."""
    done = []
    pid = server.process.pid
    paused = threading.Event()
    for bundle, _ in zip(cycle(reversed(bundles)), range(swaps), strict=False):
        paused.wait(PAUSE_S)
        began, mb_before = now(), memory_of(pid).resident
        answer = httpx.post(admin, json={"bundle": str(bundle.resolve())}, timeout=TIMEOUT_S)
        mb_after = memory_of(pid).resident
        done.append(Swap(began, now(), answer.status_code, mb_before, mb_after))
    paused.wait(PAUSE_S)
    return done


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


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_images(parser)
    parser.add_argument("--bundle", type=Path, default=packaged_bundle(), help="(the packaged one)")
    parser.add_argument("--other", type=Path, help="what to swap with (the same bundle)")
    parser.add_argument("--swaps", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second (%(default)g)")


def run(args: argparse.Namespace) -> int:
    """Swaps and prints; 1 if a request or a reload failed."""
    bundles = (args.bundle, args.other or args.bundle)
    (port,) = free_ports(1)
    admin = f"http://127.0.0.1:{port}/admin/reload"
    pictures = pictures_of(args)
    with Server("--bundle", str(args.bundle), "--admin-port", str(port)) as server:

        def swapped(now: Callable[[], float]) -> list[Swap]:
            return swap(server, admin, now, bundles, args.swaps)

        calls = calls_in_turn(server.detect_url, pictures)
        samples, swaps = asyncio.run(load_while(swapped, calls, args.rate, TIMEOUT_S))
    failed = failures(samples)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Swaps and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
