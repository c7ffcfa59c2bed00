"""What an offline run is: its pictures in parts, its bundle and options, in a file of its own.

A picture belongs to exactly one part, and a part to one file of results. The rest follows: whatever
is killed, tried again or done twice, each picture has one row in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from model.data.records import refuse_repeated
from model.errors import InputError
from model.files import whole_file

PLAN_FILE = "plan.arrow"

COLUMNS = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        # Of a Parquet file that holds the bytes; null where the source is the picture itself.
        pa.field("row_group", pa.int32()),
    ]
)
FACTS = b"retinaserve"
"""The key of an Arrow schema's metadata under which the facts are, as JSON."""


class Named(NamedTuple):
    """A picture of a run: its id and name in the results, and where its bytes are."""

    image_id: int
    file: str
    source: str
    row_group: int | None = None


@dataclass(frozen=True)
class Plan:
    """The parts of a run, each a record batch of `COLUMNS`; `facts` is what all of them share."""

    facts: dict[str, Any]
    parts: Sequence[pa.RecordBatch]

    @property
    def images(self) -> int:
        """How many pictures there are."""
        return sum(part.num_rows for part in self.parts)

    def differs_from(self, facts: dict[str, Any], parts: Iterable[pa.RecordBatch]) -> str:
        """What a later start was given otherwise; empty if it is of the same run."""
        for name in self.facts | facts:
            before, now = self.facts.get(name), facts.get(name)
            if before != now:
                return f"whose {name} was {before} and not {now}"
        if any(before != now for before, now in zip_longest(self.parts, parts)):
            return f"of {self.images:,} other pictures, or in other parts"
        return ""


def write_plan(folder: Path, facts: dict[str, Any], parts: Iterable[pa.RecordBatch]) -> None:
    """Writes the plan's file as the parts come, whole or not at all.

    Raises InputError if there is no picture, and for a name or an id that comes twice.
    """
    with whole_file(folder / PLAN_FILE) as path:
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, with_facts(COLUMNS, facts)) as writer,
        ):
            for part in parts:
                writer.write_batch(part)
        _check(_read(path))


def read_plan(folder: Path) -> Plan:
    """The plan of a run, its parts mapped into memory; FileNotFoundError where none was begun."""
    return _read(folder / PLAN_FILE)


def _read(path: Path) -> Plan:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    parts = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    plain = [pa.RecordBatch.from_arrays(part.columns, schema=COLUMNS) for part in parts]
    return Plan(facts_of(reader.schema), plain)


def _check(plan: Plan) -> None:
    if not plan.images:
        raise InputError("what was given has no picture")
    for column, what in (("file", "picture"), ("image_id", "image id")):
        # Hashes have 8 bytes, however long the names are; only those that are alike are looked at.
        hashes = np.fromiter(map(hash, _values(plan, column)), np.int64, plan.images)
        hashes.sort()
        alike = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if alike:
            doubtful = (value for value in _values(plan, column) if hash(value) in alike)
            refuse_repeated(doubtful, what, "the run")


def _values(plan: Plan, column: str) -> Iterator[Any]:
    for part in plan.parts:
        yield from part[column].to_pylist()


def parts_of(pictures: Iterable[Named], size: int) -> Iterator[pa.RecordBatch]:
    """Parts of up to `size` pictures; those out of one row group of a Parquet file are one part.

    A row group is read from its start, and can't be shared out without being read more than once.
    """
    part: list[Named] = []
    for picture in pictures:
        if part and not _belongs(picture, part, size):
            yield _batch(part)
            part = []
        part.append(picture)
    if part:
        yield _batch(part)


def with_facts(schema: pa.Schema, facts: dict[str, Any]) -> pa.Schema:
    """The schema, which carries the facts."""
    return schema.with_metadata({FACTS: json.dumps(facts)})


def facts_of(schema: pa.Schema) -> dict[str, Any]:
    """What `with_facts` was given."""
    facts: dict[str, Any] = json.loads(schema.metadata[FACTS])
    return facts


def _belongs(picture: Named, part: Sequence[Named], size: int) -> bool:
    """Whether the picture, which is the next one, is of this part too."""
    first = part[0]
    if first.row_group is None:
        return picture.row_group is None and len(part) < size
    return (picture.source, picture.row_group) == (first.source, first.row_group)


def _batch(part: Sequence[Named]) -> pa.RecordBatch:
    image_ids, files, sources, row_groups = zip(*part, strict=True)
    columns = [image_ids, files, sources, row_groups]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=COLUMNS)
