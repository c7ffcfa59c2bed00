"""How soon a server is ready, and the memory that it holds: idle, and after pictures of all shapes.

    python -m loadtest.cli.footprint --rounds 5

Starts `retinaserve serve` anew each round. Best on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from export.manifest import read_bundle
from loadtest.bench.spread import Spread
from loadtest.cli.experiment import machine, run_experiment
from loadtest.cli.under_load import TIMEOUT_S
from loadtest.process import Memory, memory_of
from loadtest.protocols.protocol import Call
from loadtest.servers import Server
from loadtest.traffic.client import open_client
from service.settings import packaged_bundle

IDLE_S = 1.0
"""After this long a server that has nothing to do holds what it will hold."""
CALLERS = 4
TIMES = 3
"""How often each picture is sent: alone or with others of its kind."""


class Footprint(NamedTuple):
    """One start of a server."""

    ready_s: float
    idle: Memory
    used: Memory


def pictures_of_all_shapes(bundle: Path) -> list[tuple[int, bytes]]:
    """A scale of the bundle and a grey picture, for each of its canvases."""
    pictures = []
    for scale, canvases in read_bundle(bundle).manifest.canvases_by_scale.items():
        for canvas in canvases:
            out = io.BytesIO()
            Image.new("RGB", (canvas.width, canvas.height), (128, 128, 128)).save(out, "PNG")
            pictures.append((scale, out.getvalue()))
    return pictures


async def use(server: Server, bundle: Path) -> None:
    """Sends pictures of every shape, several callers at once."""
    async with open_client(TIMEOUT_S) as client:
        for scale, picture in pictures_of_all_shapes(bundle):
            call = Call(f"{server.detect_url}?scale={scale}", picture)
            await asyncio.gather(*(client.send(call, client.now()) for _ in range(CALLERS * TIMES)))


def measure(bundle: Path) -> Footprint:
    """Starts a server, waits until it is ready, and uses it."""
    began = time.monotonic()
    env = {"RETINASERVE_DRAIN_DELAY_S": "0"}
    with Server("--bundle", str(bundle), env=env) as server:
        ready_s = time.monotonic() - began
        time.sleep(IDLE_S)
        idle = memory_of(server.process.pid)
        asyncio.run(use(server, bundle))
        time.sleep(IDLE_S)
        return Footprint(ready_s, idle, memory_of(server.process.pid))


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--bundle", type=Path, default=packaged_bundle(), help="(packaged cells)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    rounds = [measure(args.bundle) for _ in range(args.rounds)]
    load = os.getloadavg()[0]
    print(f"{machine()}, {args.rounds} starts, load {load:.1f}")
    print(f"ready          {Spread.of([one.ready_s for one in rounds]).text()} s")
    for name, memories in (
        ("idle", [one.idle for one in rounds]),
        ("after all shapes", [one.used for one in rounds]),
    ):
        resident, own, peak = (
            Spread.of(list(each)).text(0) for each in zip(*memories, strict=True)
        )
        print(f"{name:16} {resident} MB resident, {own} its own; peak {peak}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    return run_experiment(__doc__, configure, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
