"""What became of each detection, on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.records import Record
from model.evaluation.coco_metrics import ImageDetections
from model.evaluation.outcomes import (
    ImageOutcome,
    Outcome,
    assigned,
    class_hits,
    confusion_of,
    error_table,
    outcome_of,
    worst_images,
)

Box = list[float]
A, B = [0.0, 0.0, 100.0, 100.0], [200.0, 0.0, 300.0, 100.0]
FAR = [500.0, 500.0, 600.0, 600.0]


def loose(box: Box, iou: float) -> Box:
    """The upper part of a box, which has this IoU with it."""
    return [box[0], box[1], box[2], box[1] + iou * (box[3] - box[1])]


def record(*objects: tuple[Box, int], ignored: tuple[Box, ...] = (), image_id: int = 1) -> Record:
    return Record(
        image_id,
        "a.jpg",
        (600, 600),
        np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
        np.array([index for _, index in objects], np.int64),
        np.array(ignored, np.float32).reshape(-1, 4),
    )


def found(*entries: tuple[Box, float, int]) -> ImageDetections:
    """(xyxy, score, class index)."""
    return ImageDetections(
        np.array([e[0] for e in entries], np.float32).reshape(-1, 4),
        np.array([e[1] for e in entries], np.float32),
        np.array([e[2] for e in entries], np.int64),
    )


def outcomes(image: ImageOutcome) -> list[str]:
    return [str(outcome) for outcome in image.outcomes]


def test_each_kind_of_error_is_told_from_the_others() -> None:
    image = outcome_of(
        record((A, 0), (B, 1)),
        found(
            (A, 0.9, 0),
            (loose(A, 0.8), 0.8, 0),
            (B, 0.7, 0),
            (loose(B, 0.4), 0.6, 1),
            (loose(B, 0.4), 0.5, 0),
            (loose(A, 0.09), 0.45, 0),
            (FAR, 0.4, 1),
        ),
        0.3,
    )
    assert outcomes(image) == [
        "correct",
        "duplicate",
        "wrong class",
        "poor box",
        "background",  # near an object, but of another class
        "background",
        "background",
    ]
    assert image.object_of.tolist() == [0, -1, 1, -1, -1, -1, -1]
    assert image.found_by.tolist() == [0, 2]


def test_boundaries_of_the_overlap_belong_to_the_better_outcome() -> None:
    at_half = outcome_of(record((A, 0)), found((loose(A, 0.5), 0.9, 0)), 0.0)
    assert outcomes(at_half) == ["correct"]
    below = outcome_of(record((A, 0)), found((loose(A, 0.49), 0.9, 0)), 0.0)
    assert outcomes(below) == ["poor box"]
    assert below.errors == 2  # the box and the object that it missed


def test_score_at_the_threshold_is_left_out() -> None:
    image = outcome_of(record((A, 0)), found((A, 0.5, 0)), 0.5)
    assert outcomes(image) == []
    assert image.counts() == {"missed": 1}


def test_better_score_chooses_first_whatever_the_order_given() -> None:
    image = outcome_of(record((A, 0)), found((loose(A, 0.9), 0.4, 0), (loose(A, 0.6), 0.8, 0)), 0.1)
    assert image.detections.scores.tolist() == pytest.approx([0.8, 0.4])
    assert outcomes(image) == ["correct", "duplicate"]


def test_object_of_the_own_class_goes_before_a_better_overlap() -> None:
    image = outcome_of(record((A, 1), (loose(A, 0.7), 0)), found((A, 0.9, 0)), 0.1)
    assert outcomes(image) == ["correct"]
    assert image.found_by.tolist() == [-1, 0]


def test_wrong_class_takes_the_object_from_a_worse_right_one() -> None:
    image = outcome_of(record((A, 0)), found((A, 0.9, 1), (A, 0.8, 0)), 0.1)
    assert outcomes(image) == ["wrong class", "duplicate"]
    assert image.counts() == {"wrong class": 1, "duplicate": 1}


def test_crowd_absorbs_detections_and_objects_in_it_still_count() -> None:
    image = outcome_of(
        record((A, 0), ignored=([0.0, 0.0, 300.0, 300.0],)),
        found(
            (A, 0.9, 0),
            (A, 0.85, 0),
            (B, 0.8, 1),
            ([250.0, 0.0, 350.0, 100.0], 0.7, 1),
            (FAR, 0.6, 0),
        ),
        0.1,
    )
    assert outcomes(image) == ["correct", "ignored", "ignored", "ignored", "background"]
    assert image.errors == 1
    assert confusion_of([image], 2).tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_best_hundred_detections_count_as_in_coco() -> None:
    clutter = [(FAR, 0.9, 0)] * 100
    image = outcome_of(record((A, 0)), found(*clutter, (A, 0.5, 0)), 0.1)
    assert len(image.outcomes) == 100
    assert image.found_by.tolist() == [-1]


def test_confusion_counts_objects_in_rows_and_detections_in_columns() -> None:
    images = [
        outcome_of(record((A, 0), (B, 1)), found((A, 0.9, 0), (B, 0.8, 0), (FAR, 0.7, 1)), 0.1),
        outcome_of(record((A, 1)), found(), 0.1),
    ]
    #                                           found as 0, 1, missed
    assert confusion_of(images, 2).tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_error_table_counts_objects_and_detections_by_class() -> None:
    images = [
        outcome_of(record((A, 0), (B, 1)), found((A, 0.9, 0), (B, 0.8, 0), (FAR, 0.7, 1)), 0.1),
        outcome_of(record((A, 1)), found((loose(A, 0.3), 0.9, 1)), 0.1),
    ]
    assert error_table(images, ("cat", "dog")) == {
        "cat": {
            "boxes": 1,
            "found as another": 0,
            "missed": 0,
            "correct": 1,
            "wrong class": 1,
            "duplicate": 0,
            "poor box": 0,
            "background": 0,
        },
        "dog": {
            "boxes": 2,
            "found as another": 1,
            "missed": 1,
            "correct": 0,
            "wrong class": 0,
            "duplicate": 0,
            "poor box": 1,
            "background": 1,
        },
    }


def test_worst_images_come_first_and_flawless_ones_not_at_all() -> None:
    images = [
        outcome_of(record((A, 0), image_id=1), found((A, 0.9, 0)), 0.1),
        outcome_of(record((A, 0), image_id=2), found(), 0.1),
        outcome_of(record((A, 0), image_id=3), found((FAR, 0.9, 0), (B, 0.8, 0)), 0.1),
        outcome_of(record((A, 0), image_id=4), found((A, 0.9, 1)), 0.1),
    ]
    assert [image.record.image_id for image in worst_images(images, 9)] == [3, 2, 4]
    assert [image.record.image_id for image in worst_images(images, 1)] == [3]


def test_image_without_objects_or_detections_is_flawless() -> None:
    image = outcome_of(record(), found(), 0.1)
    assert (image.errors, image.outcomes) == (0, [])


def test_hits_are_matched_within_each_class() -> None:
    truth = record((A, 0), ignored=(B,))
    detections = found((A, 0.9, 1), (A, 0.8, 0), (B, 0.7, 0))
    counted, hits = class_hits(truth, detections)
    assert counted.scores.tolist() == pytest.approx([0.9, 0.8])  # the crowd absorbs the third
    assert hits.tolist() == [False, True]


def test_rows_choose_in_turn_among_free_columns() -> None:
    worth = np.array([[0.6, 0.9], [0.7, 0.8], [0.9, 0.9], [0.0, 0.0]])
    assert assigned(worth).tolist() == [1, 0, -1, -1]
    assert worth[0, 1] == 0.9
    assert assigned(np.zeros((2, 0))).tolist() == [-1, -1]


def test_wrong_class_is_an_outcome_with_plain_words() -> None:
    assert str(Outcome.WRONG_CLASS) == "wrong class"
