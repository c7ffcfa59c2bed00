"""Drawn blood-smear scenes as a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.data.records import DataSet, Record, as_coco
from model.errors import InputError
from model.synthetic.scene import CLASS_NAMES, draw_scene


@dataclass(frozen=True)
class DrawnRecord(Record):
    """A scene that is drawn anew each time it is looked at; `source` is (seed, (height, width))."""

    def picture(self) -> Image.Image:
        """The scene's picture."""
        seed, size = self.source
        return Image.fromarray(draw_scene(seed, size).image)


def drawn_scenes(
    count: int, seed: int, size: tuple[int, int], classes: tuple[str, ...] | None = None
) -> DataSet:
    """`count` scenes with seeds from `seed`; a class list must hold the renderer's classes."""
    classes = classes or CLASS_NAMES
    if missing := [name for name in CLASS_NAMES if name not in classes]:
        raise InputError(f"drawn scenes need the class {missing[0]!r}; classes are {classes}")
    index_of = np.array([classes.index(name) for name in CLASS_NAMES], np.int64)
    rows: list[tuple[Record, str]] = []
    for number in range(count):
        scene = draw_scene(seed + number, size)
        record = DrawnRecord(
            number + 1,
            (seed + number, size),
            size,
            scene.boxes,
            index_of[scene.class_indices],
            np.zeros((0, 4), np.float32),
        )
        rows.append((record, f"drawn_{seed + number}"))
    return DataSet(f"drawn:{seed}", classes, [record for record, _ in rows], as_coco(rows, classes))
