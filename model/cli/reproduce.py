"""`retinaserve reproduce`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from model.distributed import own_device
from model.reproduction.sections import SECTIONS, write_section
from model.reproduction.study import Setting
from model.training.ends import Interrupted

HELP = "show the paper's experiments at a size that runs here"

QUICK = {"steps": 3, "scale": 96, "batch_size": 2, "pictures": (6, 4), "seeds": 1}
"""Shows that everything works, and nothing else."""

SIGNALLED = 128
"""Added to a signal's number for the exit code, as a shell reports it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("section", choices=[*SECTIONS, "all"], help="which experiments")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reproduction"),
        help="folder of pages, plots and runs (%(default)s); runs that it holds are not made again",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="train.json and val.json in COCO format with images/; without it, drawn scenes",
    )
    parser.add_argument(
        "--backbone-weights",
        metavar="FILE",
        help="torchvision's mobilenet_v2, or imagenet to fetch it; without it, random weights",
    )
    parser.add_argument(
        "--steps", type=int, default=Setting.steps, help="of each run (%(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=Setting.seeds, help="of each key run (%(default)s)"
    )
    parser.add_argument("--checkpoint", type=Path, help="for Figure 4, instead of a run made here")
    parser.add_argument("--quick", action="store_true", help="a few steps of each, to see it work")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.epilog = (
        "example: retinaserve reproduce losses --backbone-weights imagenet --out reproduction\n\n"
        "Interrupt it as you like: the same command goes on where it was."
    )


def run(args: argparse.Namespace) -> int:
    """Writes the pages; returns the exit code."""
    setting = Setting(
        out=args.out,
        data=args.data,
        backbone_weights=args.backbone_weights,
        checkpoint=args.checkpoint,
        device=own_device(args.device),
        **(QUICK if args.quick else {"steps": args.steps, "seeds": args.seeds}),
    )
    for section in SECTIONS if args.section == "all" else [args.section]:
        try:
            tqdm.write(f"done: {write_section(section, setting, tqdm.write)}")
        except Interrupted as stop:
            tqdm.write(f"retinaserve reproduce: {stop}; the same command goes on", file=sys.stderr)
            return SIGNALLED + stop.number
    return 0
