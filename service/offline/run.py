"""A run over many pictures: begun or gone on with in its folder, and ended with one COCO JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from model.errors import InputError
from model.files import alone
from service.offline.coco import categories_of, write_coco
from service.offline.plan import PLAN_FILE, Plan, read_plan, write_plan
from service.offline.results import RESULTS_FOLDER, done_parts, read_results
from service.offline.sources import Category

COCO_FILE = "coco.json"

LOCK_FILE = "lock"


class Outcome(NamedTuple):
    """Pictures of a whole run, and how many of them have a problem instead of detections."""

    images: int
    problems: int


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other run works in the folder meanwhile; makes it.

    Raises InputError where another does, and where files can't be locked.
    """

    def refuse() -> None:
        raise InputError(
            f"{folder}: another run works here; wait for its end, or give another folder"
        )

    with alone(folder / LOCK_FILE, refuse):
        yield


def begin(folder: Path, facts: dict[str, Any], parts: Iterable[pa.RecordBatch]) -> Plan:
    """The plan of the run, written if it is new; one that was begun there is gone on with.

    Raises InputError where that was another run, and as `write_plan` does.
    """
    results = folder / RESULTS_FOLDER
    try:
        begun = read_plan(folder)
    except FileNotFoundError:
        if results.exists():
            raise InputError(f"{folder}: has {RESULTS_FOLDER}, but no {PLAN_FILE}") from None
        write_plan(folder, facts, parts)
        begun = read_plan(folder)
    else:
        if differs := begun.differs_from(facts, parts):
            raise InputError(f"{folder}: is of another run, {differs}; give another folder")
    results.mkdir(exist_ok=True)
    for left_over in results.glob(".part-*"):
        left_over.unlink(missing_ok=True)
    return begun


def parts_left(folder: Path, plan: Plan) -> list[int]:
    """The numbers of the parts that are not done yet."""
    done = done_parts(folder, plan)
    return [number for number in range(len(plan.parts)) if number not in done]


def end(
    folder: Path, plan: Plan, classes: Sequence[str], categories: Sequence[Category]
) -> Outcome:
    """Writes the COCO JSON of a run whose parts are all done; `categories` are those to use."""
    rows = partial(read_results, folder, plan)
    write_coco(folder / COCO_FILE, rows, categories_of(classes, categories))
    return Outcome(plan.images, sum(row["problem"] is not None for row in rows()))
