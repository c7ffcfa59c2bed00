"""One labelled picture, and the checks that every data set reader shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import InputError
from model.pictures import read_picture

BadBoxes = Literal["refuse", "drop"]


@dataclass(frozen=True)
class Record:
    """A picture and its ground truth, boxes xyxy in image pixels (of the upright picture).

    Shapes: boxes [M, 4] float32, classes [M] int64 (indices into the class list), ignored [R, 4]:
    crowd or difficult regions, neither positives nor negatives.
    `source`: the picture's path, or the seed and size of a drawn scene. `size`: the (height, width)
    that the labels were drawn on.
    """

    image_id: int
    source: Any
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    ignored: NDArray[np.float32]

    def picture(self) -> Image.Image:
        """The picture, upright RGB.

        InputError names a file that is missing, broken or not of the size that its labels say:
        every box would be in the wrong place.
        """
        picture = read_picture(self.source)
        if (picture.height, picture.width) != self.size:
            raise InputError(
                f"{self.source}: the upright picture is {picture.width}x{picture.height}, "
                f"its labels are for {self.size[1]}x{self.size[0]}"
            )
        return picture


@dataclass(frozen=True)
class DataSet:
    """Labelled pictures with their class names, and the same labels as a COCO dictionary.

    `dropped`: sentences about boxes that were left out of both: a box without area can't be found,
    so as ground truth it would keep every detector from an AP of 1.
    """

    name: str
    classes: tuple[str, ...]
    records: list[Record]
    coco: dict[str, Any]
    dropped: list[str] = field(default_factory=list)


class RecordBuilder:
    """Collects the boxes of one picture, checking each."""

    def __init__(self, where: str, size: tuple[int, int], bad_boxes: BadBoxes) -> None:
        self.where, self.size, self.bad_boxes = where, size, bad_boxes
        self.boxes: list[Sequence[float]] = []
        self.classes: list[int] = []
        self.ignored: list[Sequence[float]] = []
        self.dropped: list[str] = []

    def add(self, box: Sequence[float], class_index: int, ignored: bool, label: str) -> bool:
        """Adds an xyxy box clipped to the picture; one without area is refused or dropped.

        False if it was dropped.
        """
        height, width = self.size
        finite = all(map(math.isfinite, box))
        x1, y1, x2, y2 = (max(0.0, v) for v in box) if finite else (0.0,) * 4
        clipped = (x1, y1, min(x2, float(width)), min(y2, float(height)))
        if not finite or clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
            sentence = (
                f"{self.where}: {label} box {tuple(box)} has no area inside the "
                f"{width}x{height} picture"
            )
            if self.bad_boxes == "refuse":
                raise InputError(
                    f'{sentence}; mend it, or set bad_boxes = "drop" to train without such boxes'
                )
            self.dropped.append(sentence)
            return False
        if ignored:
            self.ignored.append(clipped)
        else:
            self.boxes.append(clipped)
            self.classes.append(class_index)
        return True

    def record(self, image_id: int, source: Any) -> Record:
        """The finished record."""
        return Record(
            image_id,
            source,
            self.size,
            np.array(self.boxes, np.float32).reshape(-1, 4),
            np.array(self.classes, np.int64),
            np.array(self.ignored, np.float32).reshape(-1, 4),
        )


def refuse_repeated(values: Iterable[Any], what: str, where: str) -> None:
    """InputError that names the first value that comes twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise InputError(f"{where}: {what} {value} is listed twice; list it once")
        seen.add(value)


def class_index_of(name: str, classes: Sequence[str], where: str) -> int:
    """The head's index of a label; InputError lists the classes."""
    try:
        return list(classes).index(name)
    except ValueError:
        raise InputError(
            f"{where}: class {name!r} is not in the class list; accepted are {', '.join(classes)}"
        ) from None


def as_coco(records: Sequence[tuple[Record, str]], classes: Sequence[str]) -> dict[str, Any]:
    """A COCO dictionary of (record, file name); category ids are index + 1.

    An ignored region becomes a crowd of every class: detections inside are not counted.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record, name in records:
        height, width = record.size
        images.append({"id": record.image_id, "file_name": name, "width": width, "height": height})
        rows = [(box, int(c) + 1, 0) for box, c in zip(record.boxes, record.classes, strict=True)]
        rows += [(box, c + 1, 1) for box in record.ignored for c in range(len(classes))]
        for (x1, y1, x2, y2), category, crowd in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.image_id,
                    "category_id": category,
                    "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                    "area": float((x2 - x1) * (y2 - y1)),
                    "iscrowd": crowd,
                }
            )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(classes)],
    }
