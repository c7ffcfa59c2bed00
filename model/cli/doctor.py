"""`retinaserve doctor`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from model.doctor.catalogue import Severity
from model.doctor.examination import examine
from model.doctor.gallery import walls_of
from model.doctor.page import COMMAND, report_page
from model.doctor.sources import source_of_path, sources_of_recipe
from model.doctor.summary import as_json, summary_lines
from model.errors import InputError
from model.files import whole_file
from model.page.folder import PAGE, check_page_folder
from model.page.markup import write_html
from model.recipe_file import read_recipe

HELP = "examine a data set: faults, anchors, recipe; answers 'why is my mAP 0'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "dataset",
        type=Path,
        nargs="?",
        metavar="DATASET",
        help="a COCO JSON file or a folder of VOC XML; without it the recipe's train and val",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the pictures (default: images/ beside the labels)",
    )
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="the recipe to examine it for")
    parser.add_argument(
        "--scale", type=int, metavar="N", help="training scale (default: the recipe's, or 600)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("report"),
        help="folder of the page (%(default)s/)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON too")
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        default=1000,
        help="pictures of each set to decode and match with anchors (%(default)s)",
    )
    parser.epilog = (
        "exit code: 0 nothing worse than warnings, 1 errors, 2 nothing that can be examined\n"
        "example:\n  retinaserve doctor voc/ --images images/ --out report/"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the report and prints its summary; returns the exit code."""
    if args.sample < 1:
        raise InputError(f"--sample {args.sample}: accepted are whole numbers from 1")
    if args.scale is not None and not 32 <= args.scale <= 4096:
        raise InputError(f"--scale {args.scale}: accepted are 32 to 4096")
    recipe = read_recipe(args.recipe) if args.recipe else None
    if args.dataset and args.dataset.suffix == ".toml":
        raise InputError(f"{args.dataset}: a recipe? Then write --recipe {args.dataset}")
    if args.dataset:
        sources = [("", source_of_path(args.dataset, args.images, recipe))]
        title = str(args.dataset)
    elif recipe:
        if args.images:
            raise InputError("--images goes with DATASET; a recipe says where its pictures are")
        sources, title = sources_of_recipe(recipe), recipe.name
    else:
        raise InputError("give a COCO JSON file, a folder of VOC XML, or --recipe with one")
    # The JSON file may lie beside the page.
    json_beside = {args.json.name} if args.json and args.json.parent == args.out else set()
    check_page_folder(args.out, "--out", COMMAND, {PAGE} | json_beside)
    exam = examine(title, sources, recipe, args.scale, args.sample, _tell)
    _tell("drawing the pictures")
    page = args.out / PAGE
    write_html(page, report_page(exam, walls_of(exam)))
    if args.json:
        with whole_file(args.json) as part:
            part.write_text(json.dumps(as_json(exam), indent=1) + "\n", encoding="utf-8")
    for line in summary_lines(exam):
        # Names may hold what would steer the terminal, or what it can't show.
        print("".join(letter if letter.isprintable() else "?" for letter in line))
    print(f"report: {page}")
    return 1 if exam.count(Severity.ERROR) else 0


def _tell(sentence: str) -> None:
    tqdm.write(f"{sentence} ...", file=sys.stderr)
