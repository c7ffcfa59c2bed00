"""Where the pictures of an offline run come from: files and folders, a COCO JSON, or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from model.data.records import refuse_repeated
from model.errors import InputError
from service.cli.finder import read_file
from service.offline.listing import joined, list_pictures
from service.offline.plan import Named

READ_AT_ONCE = 16
"""Rows of a Parquet file with the pictures' bytes that are in memory together."""

NAMES_AT_ONCE = 10_000
"""Rows of a Parquet file of which the names alone are in memory together."""

Load = Callable[[], bytes]

COCO, PARQUET = ".json", ".parquet"


@dataclass(slots=True)
class _Image:  # no BaseModel: of a million such, it takes 440 MB more
    id: int
    file_name: str


class Category(BaseModel):
    """A class as COCO has it."""

    id: int
    name: str


class _Coco(BaseModel):
    images: list[_Image]
    categories: list[Category] = []


def read_sources(
    given: Sequence[Path], images: Path | None
) -> tuple[Iterator[Named], list[Category]]:
    """The pictures of what was given, in order, and the categories that a COCO JSON brings.

    `images` is the folder that names in a COCO JSON or in Parquet start from. Raises InputError.
    """
    kinds = {path.suffix.lower() if path.is_file() else "" for path in given}
    if kinds == {COCO} and len(given) == 1:
        return _of_coco(given[0], images or given[0].parent)
    if kinds == {PARQUET}:
        return _of_parquet(given, images or Path()), []
    if kinds & {COCO, PARQUET}:
        raise InputError("give pictures and folders, or one COCO JSON, or Parquet files")
    if images is not None:
        raise InputError("--images is for the names in a COCO JSON or in Parquet files")
    return _of_files(given), []


def _of_files(given: Sequence[Path]) -> Iterator[Named]:
    here = str(Path.cwd())
    for number, name in enumerate(list_pictures(given), 1):
        yield Named(number, name, joined(here, name))


def _of_coco(path: Path, images: Path) -> tuple[Iterator[Named], list[Category]]:
    try:
        coco = _Coco.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: no COCO JSON: {where}: {first['msg']}") from None
    refuse_repeated((category.id for category in coco.categories), "category id", str(path))
    refuse_repeated((category.name for category in coco.categories), "category", str(path))
    folder = str(images.absolute())
    named = (
        Named(image.id, image.file_name, joined(folder, image.file_name)) for image in coco.images
    )
    return named, coco.categories


def _of_parquet(given: Sequence[Path], images: Path) -> Iterator[Named]:
    """The column `path` names the picture; it is read there, or is in the column `bytes`."""
    number = 0
    folder = str(images.absolute())
    for path in given:
        try:
            file = pq.ParquetFile(path)
        except pa.ArrowInvalid as error:
            raise InputError(f"{path}: no Parquet file ({error})") from None
        columns = file.schema_arrow.names
        if "path" not in columns:
            raise InputError(f"{path}: has no column 'path'; its columns are {', '.join(columns)}")
        inside = str(path.absolute()) if "bytes" in columns else None
        for group, name in _names_in(file):
            number += 1
            if not isinstance(name, str):
                raise InputError(f"{path}: path is {name!r}; accepted is a text")
            if inside:
                yield Named(number, name, inside, group)
            else:
                yield Named(number, name, joined(folder, name))


def _names_in(file: pq.ParquetFile) -> Iterator[tuple[int, Any]]:
    """The number of the row group and the column `path`, of each row."""
    with file:
        for group in range(file.num_row_groups):
            for rows in file.iter_batches(NAMES_AT_ONCE, [group], ["path"]):
                for name in rows["path"].to_pylist():
                    yield group, name


def loads(part: pa.RecordBatch) -> Iterator[Load]:
    """How the bytes of each picture are got, in order."""
    group = part["row_group"][0].as_py()
    if group is None:
        for source in part["source"].to_pylist():
            yield partial(read_file, Path(source))
        return
    with closing(pq.ParquetFile(part["source"][0].as_py())) as file:
        for rows in file.iter_batches(READ_AT_ONCE, [group], ["bytes"]):
            for data in rows["bytes"].to_pylist():
                yield partial(bytes, data or b"")
