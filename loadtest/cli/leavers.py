"""How much longer a request takes after many clients have left, compared with an idle server.

    python -m loadtest.cli.leavers --leavers 64
    python -m loadtest.cli.leavers --run-ms 25

Clients send a picture each; when all are queued, all close their connections, and the next client
comes at once. The batch that is in the engine at that moment can't be called back.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from loadtest.bench.prepared import pictures_to_time
from loadtest.cli.overload import CLIENT_PATIENCE_S, server_of
from loadtest.traffic.client import Call, Client, open_client
from loadtest.traffic.sample import Outcome
from model.cores import available_cores
from model.errors import InputError
from model.machine import cpu_name
from service.engine.chaos import HEADER

DEPTH = re.compile(r"^retinaserve_queue_depth (\S+)$", re.MULTILINE)
ALONE = 5
"""Requests on an idle server in each round, to compare with."""


async def measure(url: str, picture: bytes, args: argparse.Namespace) -> list[float]:
    """Extra milliseconds of the next client, round by round."""
    headers = {HEADER: f"delay={args.run_ms / 1e3:g}"} if args.run_ms else {}
    call = Call(f"{url}/v1/detect", picture, headers)
    extra = []
    async with open_client(CLIENT_PATIENCE_S) as client, aiohttp.ClientSession() as scraper:
        for _ in range(args.rounds):
            alone = [await timed_ms(client, call) for _ in range(ALONE)]
            leavers = [
                asyncio.create_task(client.send(call, client.now())) for _ in range(args.leavers)
            ]
            # Some have been answered, and as many are in the engine as share a batch.
            await queued(scraper, url, args.leavers // 2)
            for leaver in leavers:
                leaver.cancel()
            await asyncio.gather(*leavers, return_exceptions=True)
            extra.append(await timed_ms(client, call) - statistics.median(alone))
    return extra


async def timed_ms(client: Client, call: Call) -> float:
    """Milliseconds that a call takes; InputError unless it is answered."""
    sample = await client.send(call, client.now())
    if sample.outcome is not Outcome.OK:
        raise InputError(f"a request failed: {sample.why}")
    return 1e3 * (sample.ended - sample.sent)


async def queued(scraper: aiohttp.ClientSession, url: str, images: int) -> None:
    """Returns when so many images are in the server's queue; InputError if they never are."""
    try:
        async with asyncio.timeout(CLIENT_PATIENCE_S):
            while True:
                async with scraper.get(f"{url}/metrics") as answer:
                    depth = DEPTH.search(await answer.text())
                if depth and float(depth[1]) >= images:
                    return
    except TimeoutError:
        raise InputError(f"the queue of {url} never held {images} images") from None


def report(extra_ms: Sequence[float], leavers: int) -> None:
    """Prints the figures of the promise."""
    median, most = statistics.median(extra_ms), max(extra_ms)
    print(
        f"extra wait after {leavers} clients left: median {median:.1f} ms, at most {most:.1f} ms "
        f"of {len(extra_ms)} rounds"
    )


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a server that runs (one is started)")
    parser.add_argument("--leavers", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--run-ms", type=float, help="an engine that sleeps so long each run")
    parser.add_argument("--images", type=Path, help="folder of pictures (drawn scenes)")
    args = parser.parse_args()
    try:
        pictures, said = pictures_to_time(args.images)
        print(f"{cpu_name()}, {available_cores()} cores; {said}")
        with server_of(args) as url:
            report(asyncio.run(measure(url, pictures[0], args)), args.leavers)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
