"""`retinaserve draw`: scenes of blood cells with their exact boxes, as a COCO data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.errors import InputError
from model.synthetic.dataset import write_scenes

HELP = "draw blood-smear scenes with exact boxes"

SIDE_PX = (64, 8192)
"""Smaller scenes hold no cell; larger ones need gigabytes."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `retinaserve draw`."""
    parser.add_argument("--out", type=Path, required=True, help="folder for images/ and boxes")
    parser.add_argument("--count", type=int, default=1, help="how many scenes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same scenes (%(default)s)")
    parser.add_argument("--size", default="480x640", help="HEIGHTxWIDTH in pixels (%(default)s)")
    parser.epilog = "example:\n  retinaserve draw --count 20 --seed 1 --out drawn"


def run(args: argparse.Namespace) -> int:
    """Writes the scenes; prints where their boxes are."""
    size = _size(args.size)
    if args.count < 1:
        raise InputError(f"--count {args.count}: accepted are whole numbers from 1")
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: accepted are whole numbers from 0")
    path = write_scenes(args.out, args.count, args.seed, size)
    print(f"{args.count} scenes in {path.parent / 'images'}, their boxes in {path}")
    return 0


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise InputError(f"--size {text!r}: write HEIGHTxWIDTH, for example 480x640")
    height, width = int(sides[0]), int(sides[1])
    if not all(SIDE_PX[0] <= side <= SIDE_PX[1] for side in (height, width)):
        raise InputError(f"--size {text}: accepted are sides from {SIDE_PX[0]} to {SIDE_PX[1]}")
    return height, width
