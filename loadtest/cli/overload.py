"""What a server answers in time when more comes than it can do, and how soon it refuses the rest.

    python -m loadtest.cli.overload --factor 2 --timeout-ms 1000
    python -m loadtest.cli.overload --factor 2 --timeout-ms 500 --run-ms 50
    python -m loadtest.cli.overload --url http://127.0.0.1:8000

First as many callers as keep it busy find out what it can do; then independent callers (Poisson)
come `factor` times as often, each with a deadline. With `--run-ms` a server is started whose engine
only sleeps. The client runs on the same machine; a refusal's time has the client's own in it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.cli.experiment import (
    add_images,
    add_server,
    headers_of,
    pictures_of,
    run_experiment,
    server_of,
)
from loadtest.cli.under_load import TIMEOUT_S, calls_in_turn, failures, throughput
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import open_client
from loadtest.traffic.loops import closed_loop, open_loop
from loadtest.traffic.sample import Outcome, Sample

WARM_UP_S = 2.0


@dataclass(frozen=True)
class Overload:
    """What became of requests with a deadline, in a run of `seconds`."""

    seconds: float
    timeout_s: float
    samples: Sequence[Sample]

    @property
    def goodput(self) -> float:
        """Answers a second that came in time; those after the last arrival do not count."""
        return sum(self._in_time(sample) for sample in self.samples) / self.seconds

    @property
    def accepted_ms(self) -> list[float]:
        """Milliseconds of those that were let in, answered or late."""
        accepted = (Outcome.OK, Outcome.LATE)
        return [1e3 * sample.latency for sample in self.samples if sample.outcome in accepted]

    @property
    def refused_ms(self) -> list[float]:
        """Milliseconds from sending to a refusal."""
        refused = Outcome.REFUSED
        return [1e3 * (s.ended - s.sent) for s in self.samples if s.outcome is refused]

    @property
    def reasons(self) -> Counter[str]:
        """How many were not answered, by reason."""
        return failures(self.samples)

    def _in_time(self, sample: Sample) -> bool:
        first = self.samples[0].intended
        return (
            sample.outcome is Outcome.OK
            and sample.latency <= self.timeout_s
            and sample.ended <= first + self.seconds
        )


async def measure(url: str, pictures: Sequence[bytes], args: argparse.Namespace) -> None:
    """Prints what the server can do, and what it does when more comes."""
    detect_url, headers = f"{url}/v1/detect", headers_of(args)
    free = calls_in_turn(detect_url, pictures, headers)
    timed = calls_in_turn(f"{detect_url}?timeout_ms={args.timeout_ms}", pictures, headers)
    async with open_client(TIMEOUT_S) as client:
        await closed_loop(client, 2, WARM_UP_S, free)
        capacity = await throughput(client, args.callers, args.seconds / 2, free)
        print(f"capacity   {capacity:.1f} images/s, {args.callers} callers", flush=True)
        rate = args.factor * capacity
        times = arrivals(rate, args.seconds, "poisson", args.seed)
        samples = await open_loop(client, times, timed)
    report(Overload(args.seconds, args.timeout_ms / 1e3, samples), capacity, rate)


def report(run: Overload, capacity: float, rate: float) -> None:
    """Prints the figures of the promise."""
    print(
        f"offered    {rate:.1f} requests/s for {run.seconds:g} s, {run.timeout_s * 1e3:g} ms each"
    )
    print(f"goodput    {run.goodput:.1f} images/s, {run.goodput / capacity:.1%} of the capacity")
    for name, times in (("accepted", run.accepted_ms), ("refused", run.refused_ms)):
        if times:
            p50, p99 = np.percentile(times, (50, 99)).tolist()
            print(f"{name:10} {len(times)}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(f"reasons    {', '.join(f'{n} x {why}' for why, n in run.reasons.most_common())}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_server(parser)
    add_images(parser)
    parser.add_argument("--factor", type=float, default=2.0, help="of the capacity (%(default)g)")
    parser.add_argument("--timeout-ms", type=int, default=1000, help="deadline (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of overload (%(default)g)")
    parser.add_argument("--callers", type=int, default=8, help="for the capacity (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    pictures = pictures_of(args)
    with server_of(args) as url:
        asyncio.run(measure(url, pictures, args))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
