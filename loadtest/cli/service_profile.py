"""What a request costs the service's event loop, and which packages spend it.

    python -m loadtest.cli.service_profile

The application runs in this process, without a socket, HTTP parsing and an engine: JPEGs of 160x128
pixels are sent one after the other to its ASGI interface.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from loadtest.bench.spread import Spread
from loadtest.cli.experiment import machine, run_experiment
from loadtest.speed.null_server import null_session, small_picture
from service.app import create_app
from service.settings import read_settings

ROOT = Path(__file__).parents[2]
LEAST_SHARE = 0.01
WARMING = 200
PROFILED = 500

Ask = Callable[[], Awaitable[None]]
Function = tuple[str, int, str]
"""As `pstats` has it: the file, the line and the name; a built-in's file is `~`."""


async def measure(args: argparse.Namespace) -> None:
    """Prints the loop's time for a request, and the packages' shares."""
    app = create_app(read_settings({}), null_session())
    ask = asker(app, small_picture())
    async with app.router.lifespan_context(app):
        await app.state.runtime.model.warmed.wait()
        await repeat(ask, WARMING)
        times = [await loop_us(ask, args.requests) for _ in range(args.rounds)]
        profile = cProfile.Profile(time.thread_time)
        profile.enable()
        await repeat(ask, PROFILED)
        profile.disable()
    print(f"{machine()}; {args.rounds} rounds of {args.requests} requests")
    print(f"the event loop's CPU time: {Spread.of(times).text(0)} us a request")
    print("of that, by a profile, which makes calls dearer than they are:")
    for package, share in shares(pstats.Stats(profile).stats):  # type: ignore[attr-defined]
        print(f"{share:6.0%}  {package}")


async def repeat(ask: Ask, count: int) -> None:
    """Asks so often, one after the other."""
    for _ in range(count):
        await ask()


async def loop_us(ask: Ask, count: int) -> float:
    """CPU microseconds of this thread for a request; decoding is another thread's."""
    began = time.thread_time()
    await repeat(ask, count)
    return (time.thread_time() - began) / count * 1e6


def asker(app: Any, body: bytes) -> Ask:
    """Sends the picture to POST /v1/detect of an ASGI application, whose answer has to be 200."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/detect",
        "raw_path": b"/v1/detect",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", b"%d" % len(body))],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def ask() -> None:
        coming = [{"type": "http.request", "body": body, "more_body": False}]
        stays = asyncio.get_running_loop().create_future()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if coming:
                return coming.pop()
            await stays  # the client does not leave
            raise AssertionError("nothing ends the wait")

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(dict(scope), receive, send)
        assert sent[0]["status"] == 200, sent

    return ask


def shares(stats: Mapping[Function, tuple[Any, ...]]) -> list[tuple[str, float]]:
    """The packages' shares of a profile's time, the most first; a built-in's is its caller's."""
    spent: Counter[str] = Counter()
    for function, (_, _, own, _, callers) in stats.items():
        if function[0] != "~":
            spent[package_of(function[0])] += own
        for caller, (_, _, owed, _) in callers.items():
            if function[0] == "~":
                spent[package_of(caller[0])] += owed
    total = sum(spent.values())
    ordered = [(package, own / total) for package, own in spent.most_common()]
    return [(package, share) for package, share in ordered if share >= LEAST_SHARE]


def package_of(file: str) -> str:
    """`fastapi`, `asyncio`; of our own files the folder, `service.scheduling`."""
    path = Path(file)
    for name in ("purelib", "platlib", "stdlib"):
        folder = Path(sysconfig.get_path(name))
        if path.is_relative_to(folder):
            return path.relative_to(folder).parts[0].removesuffix(".py")
    if path.is_relative_to(ROOT):
        return ".".join(path.relative_to(ROOT).parent.parts)
    return "built-in"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--rounds", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--requests", type=int, default=100, help="of a round (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    uvloop.run(measure(args))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
