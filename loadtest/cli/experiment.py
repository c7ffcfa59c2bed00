"""The command line of an experiment, `python -m loadtest.cli.NAME`: what all have in common."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest.bench.prepared import pictures_to_time
from loadtest.servers import Server
from model.cores import available_cores
from model.errors import InputError
from model.machine import cpu_name
from service.engine.chaos import HEADER

MAY_BE_ZERO = ("drain_delay_s", "most_mb_per_hour", "run_ms", "score", "seed")
"""Numbers of experiments of which 0 means something."""


def run_experiment(
    described: str | None,
    configure: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """The exit code of `run` with the arguments; 2 and a sentence on stderr for bad input.

    Numbers have to be above 0, and those of `MAY_BE_ZERO` not below.
    """
    parser = argparse.ArgumentParser(
        description=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    configure(parser)
    args = parser.parse_args(arguments)
    try:
        _check_numbers(args)
        return run(args)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def _check_numbers(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            zero = name in MAY_BE_ZERO
            if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
                option = "--" + name.replace("_", "-")
                accepted = "from" if zero else "above"
                raise InputError(f"{option} {value:g}: accepted are numbers {accepted} 0")


def machine() -> str:
    """What figures depend on: the processor and how much of it may be used."""
    return f"{cpu_name()}, {available_cores()} cores"


def add_images(parser: argparse.ArgumentParser) -> None:
    """Adds `--images`, for `pictures_of`."""
    parser.add_argument("--images", type=Path, help="folder of pictures (drawn scenes)")


def pictures_of(args: argparse.Namespace) -> list[bytes]:
    """The pictures to send; prints what they are and the machine."""
    pictures, said = pictures_to_time(args.images)
    print(f"{machine()}; {said}")
    return pictures


def add_server(parser: argparse.ArgumentParser) -> None:
    """Adds `--url` and `--run-ms`, for `server_of` and `headers_of`."""
    parser.add_argument("--url", help="a server that runs (one is started)")
    parser.add_argument("--run-ms", type=float, help="an engine that sleeps so long each run")


@contextmanager
def server_of(args: argparse.Namespace) -> Iterator[str]:
    """The URL of the server to ask: the one that was named, or one that is started."""
    if args.url:
        yield args.url.rstrip("/")
    elif args.run_ms:
        chaos = {"RETINASERVE_CHAOS": "true"}
        with Server(module="loadtest.speed.null_server", env=chaos) as server:
            yield server.url
    else:
        with Server() as server:
            yield server.url


def headers_of(args: argparse.Namespace) -> dict[str, str]:
    """What each request has to say so that the engine sleeps as it was asked to."""
    return {HEADER: f"delay={args.run_ms / 1e3:g}"} if args.run_ms else {}
