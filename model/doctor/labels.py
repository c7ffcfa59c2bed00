"""The labels of one data set as they stand in its files, faults and all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.sources import CocoSource, VocSource

LabelledSource = CocoSource | VocSource

FAR_PX = 1e9
"""Coordinates beyond are cut off there, so that no sum or product of them overflows."""


class PictureEntry(NamedTuple):
    """A picture that the labels name; `size` is the labelled (height, width) if there is one."""

    name: str
    path: Path
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Labels:
    """Pictures and boxes of one data set.

    `where`: its part of the recipe (train, val), or '' without a recipe. `class_names`: in the
    order that training takes; `category_ids`: COCO's, in the same order.
    Shapes: boxes [N, 4] float64 (xyxy image pixels, not clipped, perhaps NaN), picture_of [N] and
    classes [N] int64 (places in `pictures` and `class_names`), ignored [N] bool (crowds and
    difficult objects).
    """

    where: str
    source: LabelledSource
    pictures: list[PictureEntry]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    boxes: NDArray[np.float64]
    picture_of: NDArray[np.int64]
    classes: NDArray[np.int64]
    ignored: NDArray[np.bool_]

    def box_text(self, index: int) -> str:
        """One box for a person to find it by."""
        name = self.pictures[self.picture_of[index]].name
        corners = ", ".join(f"{side:g}" for side in self.boxes[index].tolist())
        return f"{name}: {self.class_names[self.classes[index]]} box ({corners})"


class LabelsBuilder:
    """Collects pictures and boxes while a file is read."""

    def __init__(self, where: str, source: LabelledSource) -> None:
        self.where, self.source = where, source
        self.pictures: list[PictureEntry] = []
        self._rows: list[tuple[float, float, float, float]] = []
        self._facts: list[tuple[int, str, bool]] = []

    def picture(self, name: str, size: tuple[int, int] | None) -> int:
        """Adds a picture; returns its place."""
        self.pictures.append(PictureEntry(name, self.source.images / name, size))
        return len(self.pictures) - 1

    def box(
        self, box: tuple[float, float, float, float], picture: int, label: str, ignored: bool
    ) -> None:
        """Adds an xyxy box of a picture."""
        self._rows.append(box)
        self._facts.append((picture, label, ignored))

    def labels(self, class_names: list[str] | None, category_ids: tuple[int, ...] = ()) -> Labels:
        """The labels; without class names those of the boxes in alphabetical order."""
        names = class_names
        if names is None:
            names = sorted({label for _, label, _ in self._facts})
        place = {name: index for index, name in reversed(list(enumerate(names)))}
        pictures = [picture for picture, _, _ in self._facts]
        boxes = np.array(self._rows, np.float64).reshape(-1, 4)
        return Labels(
            self.where,
            self.source,
            self.pictures,
            tuple(names),
            category_ids,
            np.where(np.isfinite(boxes), boxes.clip(-FAR_PX, FAR_PX), boxes),
            np.array(pictures, np.int64),
            np.array([place[label] for _, label, _ in self._facts], np.int64),
            np.array([ignored for _, _, ignored in self._facts], bool),
        )
