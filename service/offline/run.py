"""A run over many pictures: begun or gone on with in its folder, and ended with one COCO JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from model.errors import InputError
from service.offline.coco import categories_of, write_coco
from service.offline.plan import PLAN_FILE, Plan, read_plan
from service.offline.results import RESULTS_FOLDER, done_parts, read_results
from service.offline.sources import Category

COCO_FILE = "coco.json"


class Outcome(NamedTuple):
    """Pictures of a whole run, and how many of them have a problem instead of detections."""

    images: int
    problems: int


def begin(folder: Path, plan: Plan) -> list[int]:
    """The numbers of the parts that are left, a run that was begun there being gone on with.

    Raises InputError where that was another run.
    """
    results = folder / RESULTS_FOLDER
    try:
        begun = read_plan(folder)
    except FileNotFoundError:
        if results.exists():
            raise InputError(f"{folder}: has {RESULTS_FOLDER}, but no {PLAN_FILE}") from None
        plan.write(folder)
    else:
        if differs := begun.differs_from(plan):
            raise InputError(f"{folder}: is of another run, {differs}; give another folder")
    results.mkdir(exist_ok=True)
    for left_over in results.glob(".part-*"):
        left_over.unlink(missing_ok=True)
    done = done_parts(folder, plan)
    return [number for number in range(len(plan.parts)) if number not in done]


def end(
    folder: Path, plan: Plan, classes: Sequence[str], categories: Sequence[Category]
) -> Outcome:
    """Writes the COCO JSON of a run whose parts are all done; `categories` are those to use."""
    rows = partial(read_results, folder, plan)
    write_coco(folder / COCO_FILE, rows, categories_of(classes, categories))
    return Outcome(plan.images, sum(row["problem"] is not None for row in rows()))
