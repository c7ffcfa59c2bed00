"""The results of a part: a Parquet file with a row for each of its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import InputError
from model.files import whole_file
from service.offline.plan import Plan, with_facts

DETECTION = pa.struct(
    {
        "box": pa.list_(pa.float64()),
        "score": pa.float64(),
        "label": pa.string(),
        "class_index": pa.int32(),
    }
)
COLUMNS = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("image", pa.struct({"width": pa.int32(), "height": pa.int32()})),
        pa.field("scale", pa.int32()),
        pa.field("detections", pa.list_(DETECTION)),
        pa.field("problem", pa.struct({"code": pa.string(), "detail": pa.string()})),
    ]
)
"""The members of an HTTP answer, by their names; `problem` alone where there is none."""


RESULTS_FOLDER = "detections"
"""In the run's folder; nothing but results is there, so that tools can read all of it."""


def results_file(folder: Path, part: int) -> Path:
    """Where the results of the part with this number, from 0, are."""
    return folder / RESULTS_FOLDER / f"part-{part:06d}.parquet"


def write_results(path: Path, rows: Sequence[Mapping[str, Any]], facts: dict[str, Any]) -> None:
    """Writes rows with members of `COLUMNS`, others being left out; whole or not at all.

    Where a part is tried again while a worker that was given up still has it, both may write: each
    to a file of its own, and whichever is the last to be renamed has the same rows.
    """
    table = pa.Table.from_pylist(rows, with_facts(COLUMNS, facts))
    with whole_file(path, mark=uuid4().hex) as whole:
        pq.write_table(table, whole, compression="zstd")


def is_done(folder: Path, part: int, images: int) -> bool:
    """Whether a part has its file, which can be read and has a row for each picture."""
    try:
        return bool(pq.read_metadata(results_file(folder, part)).num_rows == images)
    except (FileNotFoundError, pa.ArrowInvalid):
        return False


def done_parts(folder: Path, plan: Plan) -> set[int]:
    """The numbers of the parts that are done, as the files in the folder say."""
    sizes = enumerate(part.num_rows for part in plan.parts)
    return {number for number, images in sizes if is_done(folder, number, images)}


def read_results(folder: Path, plan: Plan) -> Iterator[dict[str, Any]]:
    """The rows of all parts, in the plan's order.

    Raises InputError where the pictures of a file are not those of its part.
    """
    for number, part in enumerate(plan.parts):
        path = results_file(folder, number)
        table = pq.read_table(path)
        if table["image_id"].to_pylist() != part["image_id"].to_pylist():
            raise InputError(f"{path}: its pictures are not those of part {number} of the plan")
        yield from table.to_pylist()


def counted(rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """How many rows there are, and how many of them have a problem."""
    problems = [row.get("problem") is not None for row in rows]
    return len(problems), sum(problems)
