"""An assessment as a whole, on a data set of two pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model.data.records import DataSet, Record, as_coco
from model.evaluation.assessment import Assessment, assess, in_classes_of
from tests.model.evaluation.detections import found

A, B = [0.0, 0.0, 100.0, 100.0], [200.0, 0.0, 300.0, 100.0]
CLASSES = ("cat", "dog", "cow")


def record(image_id: int, boxes: list[list[float]], classes: list[int]) -> Record:
    none = np.zeros((0, 4), np.float32)
    return Record(
        image_id, "", (400, 400), np.array(boxes, np.float32), np.array(classes, np.int64), none
    )


def data_set(*records: Record) -> DataSet:
    rows = [(r, f"{r.image_id}.jpg") for r in records]
    return DataSet("two", CLASSES, list(records), as_coco(rows, CLASSES))


DATA = data_set(record(1, [A, B], [0, 1]), record(2, [A], [0]))
DETECTIONS = {1: found((A, 0.9, 0), (B, 0.8, 0)), 2: found((A, 0.7, 0), (B, 0.2, 1))}


@pytest.fixture(scope="module")
def assessment() -> Assessment:
    return assess(DATA, DETECTIONS)


def test_document_says_it_all(assessment: Assessment) -> None:
    document = assessment.document()
    assert (document["images"], document["boxes"]) == (2, 3)
    # Recall .5 at precision 1, all of it at 2/3.
    assert document["classes"]["cat"] == {
        "AP": 0.835,
        "AP50": 0.835,
        "AR100": 1.0,
        "boxes": 2,
        "threshold": 0.35,
        "precision": 0.6667,
        "recall": 1.0,
        "F1": 0.8,
    }
    assert document["classes"]["dog"]["threshold"] is None
    assert document["classes"]["cow"]["AP"] is None
    assert document["all"] == {
        "threshold": 0.45,
        "precision": 0.6667,
        "recall": 0.6667,
        "F1": 0.6667,
    }
    assert document["confusion"] == {
        "labelled as": ["cat", "dog", "cow", "background"],
        "found as": ["cat", "dog", "cow", "missed"],
        "counts": [[2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    }
    assert document["errors"]["dog"]["found as another"] == 1
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_given_threshold_decides_what_counts_as_found() -> None:
    strict = assess(DATA, DETECTIONS, 0.85)
    assert strict.document()["all"] == {
        "threshold": 0.85,
        "precision": 1.0,
        "recall": 0.3333,
        "F1": 0.5,
    }
    assert [image.errors for image in strict.images] == [1, 1]
    assert strict.coco.metrics == assess(DATA, DETECTIONS).coco.metrics


def test_nothing_found_has_a_threshold_all_the_same() -> None:
    assessment = assess(DATA, {1: found(), 2: found()})
    assert assessment.threshold == 0.5
    assert assessment.document()["all"]["precision"] is None


def test_detections_are_told_in_the_classes_of_the_data() -> None:
    told = in_classes_of(
        ("dog", "cat"),
        ("cat", "bird", "dog"),
        {1: found((A, 0.9, 0), (A, 0.8, 1), (B, 0.7, 2)), 2: found()},
    )
    assert told[1].classes.tolist() == [1, 0]
    assert told[1].scores.tolist() == pytest.approx([0.9, 0.7])
    assert len(told[2].boxes) == 0
