"""What an offline run is: its pictures in parts, its bundle and options, in a file of its own.

A picture belongs to exactly one part, and a part to one file of results. The rest follows: whatever
is killed, tried again or done twice, each picture has one row in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from model.data.records import refuse_repeated
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
    source: Path
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

    def write(self, folder: Path) -> None:
        """Writes the plan's file, whole or not at all."""
        with (
            whole_file(folder / PLAN_FILE) as path,
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, with_facts(COLUMNS, self.facts)) as writer,
        ):
            for part in self.parts:
                writer.write_batch(part)

    def differs_from(self, other: Plan) -> str:
        """What the other plan, of a later start, has otherwise; empty if they are of one run."""
        for name in self.facts | other.facts:
            before, now = self.facts.get(name), other.facts.get(name)
            if before != now:
                return f"whose {name} was {before} and not {now}"
        if list(self.parts) != list(other.parts):
            return f"of {self.images:,} other pictures, or in other parts"
        return ""


def read_plan(folder: Path) -> Plan:
    """The plan of a run, its parts mapped into memory; FileNotFoundError where none was begun."""
    reader = pa.ipc.open_file(pa.memory_map(str(folder / PLAN_FILE)))
    parts = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    plain = [pa.RecordBatch.from_arrays(part.columns, schema=COLUMNS) for part in parts]
    return Plan(facts_of(reader.schema), plain)


def parts_of(pictures: Iterable[Named], size: int) -> list[pa.RecordBatch]:
    """Parts of up to `size` pictures; those out of one row group of a Parquet file are one part.

    A row group is read from its start, and can't be shared out without being read more than once.
    Raises InputError for a name or an id that comes twice.
    """
    named = list(pictures)
    refuse_repeated((picture.file for picture in named), "picture", "the run")
    refuse_repeated((picture.image_id for picture in named), "image id", "the run")
    return [_batch(part) for part in _grouped(named, size)]


def with_facts(schema: pa.Schema, facts: dict[str, Any]) -> pa.Schema:
    """The schema, which carries the facts."""
    return schema.with_metadata({FACTS: json.dumps(facts)})


def facts_of(schema: pa.Schema) -> dict[str, Any]:
    """What `with_facts` was given."""
    facts: dict[str, Any] = json.loads(schema.metadata[FACTS])
    return facts


def _grouped(pictures: Sequence[Named], size: int) -> Iterator[Sequence[Named]]:
    begin = 0
    for end in range(1, len(pictures) + 1):
        first = pictures[begin]
        if end < len(pictures):
            group = (pictures[end].source, pictures[end].row_group)
            in_group = first.row_group is not None and group == (first.source, first.row_group)
            in_size = first.row_group is None is group[1] and end - begin < size
            if in_group or in_size:
                continue
        yield pictures[begin:end]
        begin = end


def _batch(part: Sequence[Named]) -> pa.RecordBatch:
    image_ids, files, sources, row_groups = zip(*part, strict=True)
    columns = [image_ids, files, [str(source) for source in sources], row_groups]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=COLUMNS)
