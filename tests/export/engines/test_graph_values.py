from __future__ import annotations

import numpy as np
import pytest

from export.engines.graph_values import settled_detections

COUNTS = np.array([2, 1], np.int64)
BOXES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
SCORES = np.array([[0.9, 0.8, 0.0], [0.7, 0.0, 0.0]], np.float32)
CLASSES = np.array([[1, 0, -1], [2, -1, -1]], np.int64)

CANDIDATES = (
    np.array(
        [[[0, 0, 9, 9]] * 4, [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [5, 5, 6, 6]]], "f4"
    ),
    np.array([[0.9, 0.9, 0.9, 0.9], [0.5, 0.6, 0.7, 0.0]], "f4"),
    np.array([[0, 0, 0, 0], [1, 1, 0, 1]], "i8"),
)


def test_rows_up_to_the_count_are_detections_and_candidates_are_not_fetched() -> None:
    found = (COUNTS, BOXES, SCORES, CLASSES, np.array([True, True]))
    first, second = settled_detections(found, lambda: pytest.fail("fetched"), 0.5, 3)
    assert first.boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    np.testing.assert_array_equal(first.scores, np.array([0.9, 0.8], np.float32))
    assert first.classes.tolist() == [1, 0]
    assert second.boxes.tolist() == [[12, 13, 14, 15]]


def test_detections_outlive_the_buffers_that_they_were_read_from() -> None:
    boxes = BOXES.copy()
    found = (COUNTS, boxes, SCORES, CLASSES, np.array([True, True]))
    first, _ = settled_detections(found, lambda: pytest.fail("fetched"), 0.5, 3)
    boxes[:] = -1
    assert first.boxes.min() == 0


def test_an_image_that_did_not_converge_is_done_exactly_and_no_other() -> None:
    found = (COUNTS, BOXES, SCORES, CLASSES, np.array([True, False]))
    first, second = settled_detections(found, lambda: CANDIDATES, 0.5, 3)
    assert first.boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    # Of class 1 the .6 suppresses the .5; the .7 is of another class; score 0 is no candidate.
    assert second.boxes.tolist() == [[0, 0, 10, 8], [0, 0, 10, 9]]
    np.testing.assert_array_equal(second.scores, np.array([0.7, 0.6], np.float32))
    assert second.classes.tolist() == [0, 1]
