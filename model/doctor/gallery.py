"""The pictures that a person should look at: a few ordinary ones, and the worst of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.random import default_rng
from PIL import Image

from model.doctor.data_exam import DataSetExam
from model.doctor.examination import Examination
from model.doctor.thumbnails import Marked, thumbnail, window_around
from model.geometry import LEVELS
from model.pictures import read_picture

EACH = 6
"""Pictures of each kind."""

MOST_BOXES = 2_000
"""Boxes drawn on one picture."""


@dataclass
class Figure:
    """A thumbnail and what it shows."""

    name: str
    caption: str
    uri: str


@dataclass
class Wall:
    """Figures of one kind."""

    title: str
    text: str
    figures: list[Figure]


Maker = Callable[[], Figure | None]
"""Makes a figure when it is asked for one: most candidates are never drawn."""


def walls_of(exam: Examination) -> list[Wall]:
    """Every wall that has a picture, the ordinary ones first."""
    kinds: list[tuple[str, str, Iterable[Maker]]] = [
        (
            "Do the boxes sit on the objects?",
            "Pictures drawn at random, as training sees them. If boxes and objects are apart here, "
            "look no further.",
            _ordinary(exam),
        ),
        (
            "Boxes without area or outside the picture",
            "A cross marks a box that has no area; what is outside is black.",
            _boxes(exam, ("box-without-area", "box-outside")),
        ),
        (
            "Pictures turned by EXIF",
            "Drawn the right way up, as training sees them, then as the pixels lie in the file. "
            "The boxes must fit the first.",
            _turned(exam),
        ),
        (
            "Pictures of another size than labelled",
            "The boxes as they stand, on the picture as it is.",
            _other_size(exam),
        ),
        (
            "Perhaps not fully labelled",
            "Far fewer boxes of a class than is usual in this data set.",
            _scanty(exam),
        ),
        (
            "Boxes that the anchors fit worst",
            "The overlap (IoU) of the best anchor, and its level; one box of a picture.",
            _worst_covered(exam),
        ),
        ("Tiny boxes", "At the training scale hardly a cell wide.", _boxes(exam, ("box-tiny",))),
        (
            "The same object twice",
            "Boxes of one class, or of two, on one place.",
            _boxes(exam, ("box-twice", "box-nearly-twice", "box-two-classes")),
        ),
        (
            "Boxes over the edge",
            "Cut off at the edge by training.",
            _boxes(exam, ("box-partly-outside",)),
        ),
        ("The most crowded pictures", "By number of boxes.", _crowded(exam)),
    ]
    walls = []
    for title, text, makers in kinds:
        made = (figure for make in makers if (figure := make()) is not None)
        if figures := list(islice(made, EACH)):
            walls.append(Wall(title, text, figures))
    return walls


def _ordinary(exam: Examination) -> Iterator[Maker]:
    with_boxes = [
        (data, picture)
        for data in exam.data
        for picture in np.unique(data.labels.picture_of[data.learnt]).tolist()
    ]
    for index in default_rng(1).permutation(len(with_boxes)).tolist():
        data, picture = with_boxes[index]
        yield partial(_figure, data, picture, "", labelled=True)


def _boxes(exam: Examination, codes: Iterable[str]) -> Iterator[Maker]:
    """The surroundings of boxes of some findings, one box of a picture."""
    for code in codes:
        for data in exam.data:
            places = data.faulty[code]
            _, firsts = np.unique(data.labels.picture_of[places], return_index=True)
            for place in places[np.sort(firsts)].tolist():
                yield _around(data, place, data.labels.class_names[data.labels.classes[place]])


def _turned(exam: Examination) -> Iterator[Maker]:
    """Each picture twice; those whose labelled size fits the unturned one first."""
    turned = [
        (data.labels.pictures[picture].size != file.stored, data, picture, file.orientation)
        for data in exam.data
        for picture, file in enumerate(data.files)
        if file.orientation != 1
    ]
    for _, data, picture, orientation in sorted(turned, key=lambda row: row[0]):
        caption = f"EXIF orientation {orientation}: as training sees it"
        yield partial(_figure, data, picture, caption)
        yield partial(_figure, data, picture, "as it lies in the file", stored=True)


def _other_size(exam: Examination) -> Iterator[Maker]:
    for data in exam.data:
        for picture, file in enumerate(data.files):
            size = data.labels.pictures[picture].size
            if size and file.stored and size not in (file.stored, file.upright):
                yield partial(_figure, data, picture, f"labelled {size[1]}x{size[0]}")


def _scanty(exam: Examination) -> Iterator[Maker]:
    for data in exam.data:
        for picture, index in data.scanty:
            count = (data.labels.classes[data.labels.picture_of == picture] == index).sum()
            yield partial(
                _figure, data, picture, f"{count} of class {data.labels.class_names[index]}"
            )


def _worst_covered(exam: Examination) -> Iterator[Maker]:
    if exam.anchors is None:
        return
    boxes, coverage = list(exam.anchors.boxes), exam.anchors.coverage
    seen = set()
    for index in np.argsort(coverage.best_iou, kind="stable").tolist():
        data, place = boxes[index]
        picture = (id(data), data.labels.picture_of[place])
        if picture in seen:
            continue
        seen.add(picture)
        iou, level = coverage.best_iou[index], LEVELS[coverage.level[index]]
        label = data.labels.class_names[data.labels.classes[place]]
        yield _around(data, place, f"{label}: IoU {iou:.2f}, P{level}")


def _crowded(exam: Examination) -> Iterator[Maker]:
    rows = [
        (count, data, picture)
        for data in exam.data
        for picture, count in enumerate(np.bincount(data.labels.picture_of).tolist())
    ]
    for count, data, picture in sorted(rows, key=lambda row: -row[0])[:2]:
        yield partial(_figure, data, picture, f"{count} boxes")


def _around(data: DataSetExam, place: int, caption: str) -> Maker:
    return partial(_figure, data, int(data.labels.picture_of[place]), caption, focus=place)


def _figure(
    data: DataSetExam,
    picture: int,
    caption: str,
    focus: int | None = None,
    stored: bool = False,
    labelled: bool = False,
) -> Figure | None:
    """A picture with its boxes, or the surroundings of the box in focus; None if unreadable.

    `stored`: as the pixels lie in the file, not turned. `labelled`: with the boxes' classes.
    """
    labels = data.labels
    entry = labels.pictures[picture]
    try:
        image = _as_stored(entry.path) if stored else read_picture(entry.path)
    except Exception:  # a broken file is a finding; here its picture is left out
        return None
    places = np.flatnonzero(labels.picture_of == picture)
    places = places[np.isfinite(labels.boxes[places]).all(axis=1)][:MOST_BOXES]
    boxes = {place: tuple(labels.boxes[place].tolist()) for place in places.tolist()}
    window = window_around(boxes[focus], image.size) if focus in boxes else None
    names = labels.class_names
    marked = [
        Marked(box, place == focus, names[labels.classes[place]] if labelled else "")
        for place, box in boxes.items()
    ]
    return Figure(entry.name, caption, thumbnail(image, marked, window))


def _as_stored(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
