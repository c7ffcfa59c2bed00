"""What became of each detection and each object at a score threshold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from model.boxes import area_of, intersection_of, iou_of
from model.data.records import Record
from model.evaluation.coco_metrics import ImageDetections

MATCH_IOU = 0.5
"""Least overlap with an object that finds it."""

NEAR_IOU = 0.1
"""Least overlap with an object that tells a poor box from one on the background."""

NOBODY = -1


class Outcome(StrEnum):
    """What a detection turned out to be; see `docs/evaluation.md`."""

    CORRECT = "correct"
    WRONG_CLASS = "wrong class"
    DUPLICATE = "duplicate"
    POOR_BOX = "poor box"
    BACKGROUND = "background"
    IGNORED = "ignored"


ERRORS = (Outcome.WRONG_CLASS, Outcome.DUPLICATE, Outcome.POOR_BOX, Outcome.BACKGROUND)


class ImageOutcome(NamedTuple):
    """One image's detections above the threshold, N of them by descending score, and M objects.

    `outcomes`: of each detection. `object_of` int64 [N]: the object that it found, or NOBODY.
    `found_by` int64 [M]: the detection that found the object, or NOBODY.
    """

    record: Record
    detections: ImageDetections
    outcomes: list[Outcome]
    object_of: NDArray[np.int64]
    found_by: NDArray[np.int64]

    def counts(self) -> dict[str, int]:
        """How many there are of each error, missed objects among them; without those at 0."""
        wrong = Counter(str(outcome) for outcome in self.outcomes if outcome in ERRORS)
        missed = int((self.found_by == NOBODY).sum())
        return {**wrong, **({"missed": missed} if missed else {})}

    @property
    def errors(self) -> int:
        """Detections that are wrong plus objects that are missed."""
        return sum(self.counts().values())


def outcome_of(record: Record, found: ImageDetections, score_threshold: float) -> ImageOutcome:
    """The detections with score > `score_threshold` held against the record's objects.

    By descending score each detection takes, among the free objects that it overlaps with an IoU
    of at least .5, one of its own class if there is one, and of those the one it overlaps most.
    One that takes none is ignored if half of it lies in a crowd region; else a duplicate if an
    object with that overlap is taken; else a poor box if it overlaps an object of its own class
    with an IoU of at least .1; else on the background.
    """
    best = found.best()
    detections = best.at(best.scores > score_threshold)
    overlap = _overlaps(detections, record)
    own_class = detections.classes[:, None] == record.classes
    object_of = assigned(np.where(overlap >= MATCH_IOU, overlap + own_class, 0.0))
    found_by = np.full(len(record.boxes), NOBODY)
    found_by[object_of[object_of != NOBODY]] = np.flatnonzero(object_of != NOBODY)
    near = np.any(own_class & (overlap >= NEAR_IOU), axis=1)
    doubled = np.any(overlap >= MATCH_IOU, axis=1)
    in_crowd = _in_crowd(detections, record)
    outcomes = []
    for index, target in enumerate(object_of):
        if target != NOBODY:
            same = detections.classes[index] == record.classes[target]
            outcome = Outcome.CORRECT if same else Outcome.WRONG_CLASS
        elif in_crowd[index]:
            outcome = Outcome.IGNORED
        elif doubled[index]:
            outcome = Outcome.DUPLICATE
        else:
            outcome = Outcome.POOR_BOX if near[index] else Outcome.BACKGROUND
        outcomes.append(outcome)
    return ImageOutcome(record, detections, outcomes, object_of, found_by)


def class_hits(record: Record, found: ImageDetections) -> tuple[ImageDetections, NDArray[np.bool_]]:
    """The detections that count for precision and recall at IoU .5, and which of them are hits.

    Each class is matched on its own, as COCO does; what takes no object and lies in a crowd region
    is left out.
    """
    best = found.best()
    overlap = _overlaps(best, record)
    overlap[best.classes[:, None] != record.classes] = 0.0
    hits = assigned(np.where(overlap >= MATCH_IOU, overlap, 0.0)) != NOBODY
    counted = hits | ~_in_crowd(best, record)
    return best.at(counted), hits[counted]


def assigned(worth: NDArray[np.floating]) -> NDArray[np.int64]:
    """For each row in turn the free column that is worth most to it, NOBODY if none is above 0.

    Shapes: [N, M] -> int64 [N].
    """
    worth = worth.copy()
    taken = np.full(len(worth), NOBODY)
    for row in np.flatnonzero((worth > 0).any(axis=1)):
        column = worth[row].argmax()
        if worth[row, column] > 0:
            taken[row] = column
            worth[:, column] = 0.0
    return taken


def confusion_of(images: Iterable[ImageOutcome], num_classes: int) -> NDArray[np.int64]:
    """Counts [K + 1, K + 1]: row the class of an object, column the class it was found as.

    The last row holds the detections of no object, the last column the objects not found.
    """
    table = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for image in images:
        truth, labels = image.record.classes, image.detections.classes
        for outcome, label, target in zip(image.outcomes, labels, image.object_of, strict=True):
            if outcome != Outcome.IGNORED:
                table[num_classes if target == NOBODY else truth[target], label] += 1
        np.add.at(table[:, num_classes], truth[image.found_by == NOBODY], 1)
    return table


def error_table(
    images: Sequence[ImageOutcome], classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """By class: its objects `boxes`, of these `found as another` and `missed`, and its detections
    by outcome, those ignored left out.
    """
    confusion = confusion_of(images, len(classes))
    by_class = [Counter[Outcome]() for _ in classes]
    for image in images:
        for outcome, label in zip(image.outcomes, image.detections.classes, strict=True):
            by_class[label][outcome] += 1
    return {
        name: {
            "boxes": int(confusion[index].sum()),
            "found as another": int(confusion[index, :-1].sum() - confusion[index, index]),
            "missed": int(confusion[index, -1]),
            **{str(kind): by_class[index][kind] for kind in (Outcome.CORRECT, *ERRORS)},
        }
        for index, name in enumerate(classes)
    }


def worst_images(images: Iterable[ImageOutcome], count: int) -> list[ImageOutcome]:
    """The `count` images with the most errors, worst first; images without errors are left out."""
    wrong = [image for image in images if image.errors]
    return sorted(wrong, key=lambda image: -image.errors)[:count]


def _overlaps(found: ImageDetections, record: Record) -> NDArray[np.float32]:
    """IoU of detections and objects, [N, M]."""
    overlap: NDArray[np.float32] = iou_of(
        torch.from_numpy(found.boxes), torch.from_numpy(record.boxes)
    ).numpy()
    return overlap


def _in_crowd(found: ImageDetections, record: Record) -> NDArray[np.bool_]:
    """Which detections have at least half of their area in a crowd region, bool [N]."""
    boxes = torch.from_numpy(found.boxes)
    inside = intersection_of(boxes, torch.from_numpy(record.ignored))
    crowded: NDArray[np.bool_] = (inside >= MATCH_IOU * area_of(boxes)[:, None]).any(dim=1).numpy()
    return crowded
