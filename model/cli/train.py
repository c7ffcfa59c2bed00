"""`retinaserve train`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from model.recipe import read_recipe
from model.training.loop import TrainingStopped, train

HELP = "train a RetinaNet by a recipe"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("recipe", type=Path, help="the recipe, a TOML file")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change one value of the recipe, for example train.steps=1000; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and log")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/last.pt if it exists")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda:0")
    parser.epilog = "example: retinaserve train recipes/cells.toml --out runs/cells"


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    recipe = read_recipe(args.recipe, args.overrides)
    try:
        best = train(recipe, args.out, args.resume, tqdm.write, args.device)
    except TrainingStopped as stop:
        tqdm.write(f"retinaserve train: stopped: {stop}", file=sys.stderr)
        return 1
    reached = best.metrics.get("val", {}).get("AP")
    figure = "" if reached is None else f" (best.pt: AP {reached} on val)"
    tqdm.write(f"done: {args.out}{figure}")
    return 0
