"""The results of a run as one COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from model.files import whole_file
from service.offline.sources import Category

Rows = Callable[[], Iterable[Mapping[str, Any]]]
"""The rows of `results.COLUMNS`, from the first one on each time."""


def categories_of(classes: Sequence[str], given: Sequence[Category]) -> list[dict[str, Any]]:
    """The category of each class index: the given one of that name, else one with a new id."""
    ids = {category.name: category.id for category in given}
    free = max(ids.values(), default=0) + 1
    for name in classes:
        if name not in ids:
            ids[name], free = free, free + 1
    return [{"id": ids[name], "name": name} for name in classes]


def write_coco(path: Path, rows: Rows, categories: Sequence[Mapping[str, Any]]) -> None:
    """Writes images, annotations with `score`, and categories; whole or not at all.

    Pictures with a problem are left out. In memory is one row at a time.
    """
    with whole_file(path) as whole, whole.open("wb") as file:
        file.write(b'{"images": ')
        _write_list(file, _images(rows()))
        file.write(b', "annotations": ')
        _write_list(file, _annotations(rows(), categories))
        file.write(b', "categories": ' + json.dumps(categories).encode() + b"}\n")


def _images(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["problem"] is None:
            yield {"id": row["image_id"], "file_name": row["file"], **row["image"]}


def _annotations(
    rows: Iterable[Mapping[str, Any]], categories: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    number = 0
    for row in rows:
        for found in row["detections"] or ():
            number += 1
            x1, y1, x2, y2 = found["box"]
            # The corners have two digits after the point, and so has what lies between them.
            width, height = round(x2 - x1, 2), round(y2 - y1, 2)
            yield {
                "id": number,
                "image_id": row["image_id"],
                "category_id": categories[found["class_index"]]["id"],
                "bbox": [x1, y1, width, height],
                "area": round(width * height, 4),
                "iscrowd": 0,
                "score": found["score"],
            }


def _write_list(file: IO[bytes], entries: Iterable[Mapping[str, Any]]) -> None:
    between = b"[\n"
    for entry in entries:
        file.write(between + orjson.dumps(entry))
        between = b",\n"
    file.write(b"[]" if between == b"[\n" else b"\n]")
