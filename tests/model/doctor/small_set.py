"""A small data set to spoil, and the doctor's findings on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from model.doctor.examination import Examination, examine
from model.doctor.findings import Finding
from model.doctor.sources import source_of_path, sources_of_recipe
from model.recipe_file import parse_recipe

WIDTH, HEIGHT = 96, 64
COLOURS = {"a.png": "navy", "b.png": "olive", "c.png": "teal"}


def good_labels() -> dict[str, Any]:
    """Three pictures of 96x64 px, two classes of twelve boxes each, nothing wrong."""
    boxes = [
        (image, category, [8 * column, 24 * row, 12 + column, 16])
        for image in (1, 2, 3)
        for row, category in enumerate((1, 2))
        for column in (0, 3, 6, 9)
    ]
    return {
        "images": [
            {"id": index, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for index, name in enumerate(COLOURS, start=1)
        ],
        "annotations": [
            {"id": index, "image_id": image, "category_id": category, "bbox": box}
            for index, (image, category, box) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def write_set(folder: Path, labels: dict[str, Any] | None = None) -> Path:
    """Pictures in images/ and the labels beside it; returns the path of the labels."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, colour in COLOURS.items():
        Image.new("RGB", (WIDTH, HEIGHT), colour).save(folder / "images" / name)
    path = folder / "labels.json"
    path.write_text(json.dumps(labels or good_labels()))
    return path


def examined(path: Path, scale: int | None = 192, sample: int = 100) -> Examination:
    """The exam of a data set by itself."""
    return examine(
        "small", [("", source_of_path(path, None, None))], None, scale, sample, lambda _: None
    )


def examined_by_recipe(raw: dict[str, Any]) -> Examination:
    """The exam of a recipe's data sets, the recipe given as a parsed TOML table."""
    recipe = parse_recipe(raw, "test")
    return examine("small", sources_of_recipe(recipe), recipe, None, 100, lambda _: None)


def by_code(exam: Examination) -> dict[str, Finding]:
    """The findings by kind; of several data sets the last."""
    return {finding.code: finding for finding in exam.findings}
