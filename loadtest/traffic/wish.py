"""What a load test is to find out, by its command line."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from loadtest.traffic.arrivals import Process
from loadtest.traffic.loadgen import NAMES, Scenario
from loadtest.traffic.precise import Precise
from loadtest.traffic.summary import PERCENTILES
from loadtest.traffic.trial import Kind, Load
from model.errors import InputError

AUTO = "auto"

SECONDS: dict[Kind, float] = {
    "load": 20.0,
    "max-qps": 30.0,
    "scales": 10.0,
    "rates": 20.0,
    "mlperf": 60.0,
}
"""Of a run, by what it is for, unless it is said."""

MOST_SECONDS = 300.0
"""Of a run that ends when it is precise enough, unless it is said."""

PROCESS: Process = "poisson"
"""Of arrivals, unless it is said."""

CALLERS = 8
"""That keep a server busy, unless it is said."""

MLPERF_P99_MS = 100.0
"""Of RetinaNet in MLPerf's Server scenario."""


@dataclass(frozen=True)
class Wish:
    """What is to be found out. `load` has neither rate nor callers where none was given.

    `callers`: how many keep the server busy where its capacity is asked for. `rates`: None stands
    for shares of the capacity.
    """

    kind: Kind
    load: Load
    callers: int
    scale: int | None = None
    p99_ms: float | None = None
    precise: Precise | None = None
    scales: tuple[int, ...] = ()
    rates: tuple[float, ...] | None = None
    scenario: Scenario = "server"
    out: Path = Path()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says which load is sent, and to what end."""
    aims = parser.add_argument_group("what to find out").add_mutually_exclusive_group()
    aims.add_argument(
        "--find-max-qps",
        action="store_true",
        help="the highest rate at which --p99-ms is met",
    )
    aims.add_argument(
        "--sweep-scale",
        metavar="N,N,...",
        help="latency and throughput at these scales, and with --data AP",
    )
    aims.add_argument(
        "--sweep-rate",
        metavar="R,R,...|auto",
        help="latency at these rates; auto: from 10%% to 95%% of what the server can do",
    )
    aims.add_argument(
        "--mlperf", choices=list(NAMES), help="a scenario of MLPerf's, by its LoadGen"
    )
    load = parser.add_argument_group("load")
    how = load.add_mutually_exclusive_group()
    how.add_argument(
        "--rate",
        "--qps",
        type=float,
        metavar="R",
        help="open loop: so many requests a second, whatever the server does (70%% of what it can)",
    )
    how.add_argument(
        "--callers",
        type=int,
        metavar="N",
        help="closed loop: so many callers, each of which waits for its answer before it asks "
        "again; in a sweep, those that keep the server busy (8)",
    )
    load.add_argument(
        "--process",
        choices=get_args(Process),
        help=f"of a rate: as from many independent callers, or at even gaps ({PROCESS})",
    )
    load.add_argument(
        "--seconds", type=float, metavar="S", help="of a run, without its warm-up (10 to 60)"
    )
    load.add_argument("--warm-up", type=float, default=2.0, metavar="S", help="(%(default)g)")
    load.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="for an answer (%(default)g)"
    )
    load.add_argument("--scale", type=int, help="of each request (the server's own)")
    load.add_argument("--seed", type=int, default=0, help="of the arrivals (%(default)s)")
    aim = parser.add_argument_group("targets")
    aim.add_argument(
        "--p99-ms",
        type=float,
        metavar="MS",
        help="99 of 100 requests are to be answered within; the exit code is 1 if they are not",
    )
    aim.add_argument(
        "--precision",
        metavar="pN=PERCENT",
        help="run until the percentile is known within so much, as in p99=5; --seconds are then "
        f"the most ({MOST_SECONDS:g})",
    )


def wish_of(args: argparse.Namespace) -> Wish:
    """The wish of a command line; InputError for one that can't be."""
    kind = _kind_of(args)
    _check_numbers(args)
    _check_company(args, kind)
    precise = _precise_of(args.precision)
    load = Load(
        rate=args.rate,
        callers=args.callers if kind == "load" else None,
        process=args.process or PROCESS,
        seconds=args.seconds or (MOST_SECONDS if precise else SECONDS[kind]),
        warm_up_s=args.warm_up,
        timeout_s=args.timeout,
        seed=args.seed,
    )
    target = args.p99_ms
    if target is None and args.mlperf == "server":
        target = MLPERF_P99_MS
    return Wish(
        kind=kind,
        load=load,
        callers=args.callers or CALLERS,
        scale=args.scale,
        p99_ms=target,
        precise=precise,
        scales=_scales_of(args.sweep_scale) if args.sweep_scale else (),
        rates=_rates_of(args.sweep_rate) if args.sweep_rate else None,
        scenario=args.mlperf or "server",
        out=args.out or Path(f"mlperf-{args.mlperf}" if args.mlperf else ""),
    )


def _kind_of(args: argparse.Namespace) -> Kind:
    if args.find_max_qps:
        return "max-qps"
    if args.sweep_scale is not None:
        return "scales"
    if args.sweep_rate is not None:
        return "rates"
    return "mlperf" if args.mlperf else "load"


def _check_numbers(args: argparse.Namespace) -> None:
    for option in ("rate", "seconds", "timeout", "p99_ms"):
        value = getattr(args, option)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(
                f"--{option.replace('_', '-')} {value:g}: accepted are numbers above 0"
            )
    if not (math.isfinite(args.warm_up) and args.warm_up >= 0):
        raise InputError(f"--warm-up {args.warm_up:g}: accepted are numbers from 0")
    for option, least in (("callers", 1), ("scale", 1), ("seed", 0)):
        value = getattr(args, option)
        if value is not None and value < least:
            raise InputError(f"--{option} {value}: accepted are whole numbers from {least}")


def _check_company(args: argparse.Namespace, kind: Kind) -> None:
    """InputError for options that would have no effect together."""
    if kind == "max-qps" and args.p99_ms is None:
        raise InputError("--find-max-qps needs --p99-ms MS: the target that it has to meet")
    if kind in ("max-qps", "scales", "rates") and args.rate is not None:
        raise InputError(f"--rate does not go with {_option(kind)}, which sets the load itself")
    if kind in ("max-qps", "mlperf") and args.callers is not None:
        raise InputError(f"--callers does not go with {_option(kind)}, which sets the load itself")
    closed = "--callers" if kind == "load" and args.callers is not None else _option(kind)
    if args.process is not None and closed in ("--callers", "--sweep-scale", "--mlperf"):
        raise InputError(f"--process does not go with {closed}: it is for arrivals at a rate")
    if kind == "scales" and args.scale is not None:
        raise InputError("--scale does not go with --sweep-scale")
    if kind != "load" and args.precision is not None:
        raise InputError(f"--precision does not go with {_option(kind)}; give --seconds")
    if kind == "scales" and args.p99_ms is not None:
        raise InputError("--p99-ms does not go with --sweep-scale, whose callers wait in turn")
    if args.mlperf == "server" and args.rate is None:
        raise InputError("--mlperf server needs --qps R; --find-max-qps finds how much it can be")
    if args.mlperf == "singlestream" and args.rate is not None:
        raise InputError("--qps does not go with --mlperf singlestream: one request at a time")
    if args.mlperf in ("singlestream", "offline") and args.p99_ms is not None:
        raise InputError(f"--p99-ms does not go with --mlperf {args.mlperf}")
    if kind != "mlperf" and args.out is not None:
        raise InputError("--out goes with --mlperf; a report goes to --json or --html")


def _option(kind: Kind) -> str:
    return {
        "max-qps": "--find-max-qps",
        "scales": "--sweep-scale",
        "rates": "--sweep-rate",
        "mlperf": "--mlperf",
        "load": "a load",
    }[kind]


def _precise_of(text: str | None) -> Precise | None:
    if text is None:
        return None
    match = re.fullmatch(r"p(\d+(?:\.\d+)?)=(\d+(?:\.\d+)?)%?", text)
    if not match or not 0 < float(match[2]) < 100:
        raise InputError(
            f"--precision {text!r}: write a percentile and by how many percent it may be off, as "
            "in p99=5"
        )
    if float(match[1]) not in PERCENTILES:
        accepted = ", ".join(f"p{percent:g}" for percent in PERCENTILES)
        raise InputError(
            f"--precision {text!r}: accepted are the percentiles that are reported, {accepted}"
        )
    return Precise(float(match[1]), float(match[2]) / 100)


def _scales_of(text: str) -> tuple[int, ...]:
    parts = _split(text)
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--sweep-scale {text!r}: write whole numbers, comma separated")
    return tuple(int(part) for part in parts)


def _rates_of(text: str) -> tuple[float, ...] | None:
    if text == AUTO:
        return None
    try:
        rates = tuple(float(part) for part in _split(text))
    except ValueError:
        rates = ()
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise InputError(f"--sweep-rate {text!r}: write numbers above 0, comma separated, or auto")
    return rates


def _split(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
