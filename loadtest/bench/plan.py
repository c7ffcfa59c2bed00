"""What a run of `retinaserve bench` is asked to do, checked."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from export.manifest import Precision
from loadtest.bench.installed import check_engines
from loadtest.bench.prepared import pictures_to_time
from model.errors import InputError

MAX_BATCH = 256


@dataclass(frozen=True)
class Plan:
    """The arguments. What to measure is `architectures`, or else `model`: a bundle or checkpoint.

    `scales` None and `precisions` () are all that a bundle has. `seconds` at each scale and batch.
    """

    model: Path
    architectures: tuple[str, ...]
    classes: int | None
    scales: tuple[int, ...] | None
    batches: tuple[int, ...]
    engines: tuple[str, ...]
    precisions: tuple[Precision, ...]
    device: str
    seconds: float
    pictures: list[bytes]
    pictures_are: str

    @property
    def opens_bundle(self) -> bool:
        """Whether the model is a bundle; else it is made into one for the run."""
        return not self.architectures and not self.model.is_file()


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan of these arguments; InputError for one that can't be."""
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        raise InputError(f"--seconds {args.seconds:g}: accepted are positive numbers")
    if args.classes is not None and (args.arch is None or args.classes < 1):
        raise InputError(f"--classes {args.classes}: accepted are numbers from 1, with --arch")
    batches = _numbers("--batch", args.batch)
    for batch in batches:
        if not 1 <= batch <= MAX_BATCH:
            raise InputError(f"--batch {batch}: accepted are 1 to {MAX_BATCH}")
    engines = _names("--engines", args.engines)
    check_engines(engines, args.device)
    made_now = args.arch is not None or args.bundle.is_file()
    pictures, pictures_are = pictures_to_time(args.images)
    return Plan(
        model=args.bundle,
        architectures=() if args.arch is None else _names("--arch", args.arch),
        classes=args.classes,
        scales=None if args.scales is None else _numbers("--scales", args.scales),
        batches=batches,
        engines=engines,
        precisions=_precisions(args.precision or ("fp32" if made_now else None)),
        device=args.device,
        seconds=args.seconds,
        pictures=pictures,
        pictures_are=pictures_are,
    )


def _precisions(text: str | None) -> tuple[Precision, ...]:
    if text is None:
        return ()
    known: dict[str, Precision] = {name: name for name in get_args(Precision)}
    names = _names("--precision", text)
    for name in names:
        if name not in known:
            raise InputError(f"--precision {name}: accepted are {', '.join(known)}")
    return tuple(known[name] for name in names)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = _split(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"{option} {text!r}: write whole numbers, comma separated")
    return tuple(int(part) for part in parts)


def _names(option: str, text: str) -> tuple[str, ...]:
    parts = _split(text)
    if not parts:
        raise InputError(f"{option} {text!r}: write names, comma separated")
    return parts


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
