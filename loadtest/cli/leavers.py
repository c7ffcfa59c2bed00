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

import aiohttp

from loadtest.cli.experiment import (
    add_images,
    add_server,
    headers_of,
    pictures_of,
    run_experiment,
    server_of,
)
from loadtest.cli.under_load import TIMEOUT_S, checked
from loadtest.protocols.protocol import Call
from loadtest.traffic.client import Client, open_client
from model.errors import InputError

DEPTH = re.compile(r"^retinaserve_queue_depth (\S+)$", re.MULTILINE)
ALONE = 5
"""Requests on an idle server in each round, to compare with."""


async def measure(url: str, picture: bytes, args: argparse.Namespace) -> list[float]:
    """Extra milliseconds of the next client, round by round."""
    call = Call(f"{url}/v1/detect", picture, headers_of(args))
    extra = []
    async with open_client(TIMEOUT_S) as client, aiohttp.ClientSession() as scraper:
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
    (sample,) = checked([await client.send(call, client.now())])
    return 1e3 * (sample.ended - sample.sent)


async def queued(scraper: aiohttp.ClientSession, url: str, images: int) -> None:
    """Returns when so many images are in the server's queue; InputError if they never are."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
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


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_server(parser)
    add_images(parser)
    parser.add_argument("--leavers", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="(%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    pictures = pictures_of(args)
    with server_of(args) as url:
        report(asyncio.run(measure(url, pictures[0], args)), args.leavers)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
