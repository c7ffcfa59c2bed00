"""`retinaserve train`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from model.distributed import EndedElsewhere, own_device, processes, rank, started_together
from model.errors import InputError
from model.recipe import Recipe
from model.recipe_file import read_recipe
from model.training.dry_run import dry_run
from model.training.ends import Interrupted, TrainingStopped
from model.training.loop import train
from model.training.state import LAST

HELP = "train a RetinaNet by a recipe"

SIGNALLED = 128
"""Added to a signal's number for the exit code, as a shell reports it."""


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
    parser.add_argument("--out", type=Path, help="folder of checkpoints and log")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/last.pt if it exists")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check data, memory and one step; report what the run would take; write nothing",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (default: a GPU if there is one), cpu, cuda or cuda:N",
    )
    parser.epilog = (
        "examples: retinaserve train recipes/cells.toml --out runs/cells\n"
        "          torchrun --nproc-per-node 2 -m retinaserve train recipes/cells.toml "
        "--out runs/cells\n\n"
        "exit codes: 0 done, 1 the loss is not finite, 2 bad input, 130 and 143 stopped by SIGINT\n"
        f"and SIGTERM after a whole step, with OUT/{LAST} to --resume from"
    )


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    recipe = read_recipe(args.recipe, args.overrides)
    device = own_device(args.device)
    if args.dry_run:
        if started_together():
            raise InputError("--dry-run is for one process: run it without torchrun")
        dry_run(recipe, args.out, tqdm.write, device)
        return 0
    if args.out is None:
        raise InputError("--out is missing: give the folder of checkpoints and log")
    with processes(device):
        return _train(recipe, args, device)


def _train(recipe: Recipe, args: argparse.Namespace, device: str) -> int:
    try:
        best = train(recipe, args.out, args.resume, tqdm.write, device)
    except EndedElsewhere:
        return 1
    except TrainingStopped as stop:
        _complain(f"stopped: {stop}")
        return 1
    except Interrupted as stop:
        _complain(f"{stop}; to go on run the same command with --resume")
        return SIGNALLED + stop.number
    if rank() == 0:
        tqdm.write(f"done: {args.out}{_figures(recipe, best.metrics.get('val', {}).get('AP'))}")
    return 0


def _figures(recipe: Recipe, reached: float | None) -> str:
    """The AP of the best weights, and that of the recipe's source."""
    if reached is None:
        return ""
    expected = recipe.expect
    said = f"; {expected.source} reports {expected.AP:g} points" if expected else ""
    return f" (best.pt: AP {reached} on val{said})"


def _complain(sentence: str) -> None:
    if rank() == 0:
        tqdm.write(f"retinaserve train: {sentence}", file=sys.stderr)
