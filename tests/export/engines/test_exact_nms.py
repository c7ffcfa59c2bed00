"""NMS on the host, against greedy NMS in whole numbers and the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from export.engines.exact_nms import exact_nms
from export.engines.session import Detections
from model.postprocess import class_wise_nms
from tests.export.nms_cases import CASES, Case, cases, greedy


def candidates_of(case: Case) -> Detections:
    scores = np.array(case.scores, np.float32)
    scores[scores <= case.score_threshold] = 0.0
    return Detections(np.array(case.boxes, np.float32), scores, np.array(case.classes, np.int64))


def expected(case: Case) -> list[tuple[float, ...]]:
    order = sorted(range(len(case.boxes)), key=lambda i: (-case.scores[i], i))
    keep = greedy(case._replace(cap=len(case.boxes)))
    return [(*case.boxes[i], case.scores[i], case.classes[i]) for i in order if keep[i]]


def rows_of(found: Detections) -> list[tuple[float, ...]]:
    table = [found.boxes, found.scores[:, None], found.classes[:, None]]
    return list(map(tuple, np.concatenate(table, axis=1).tolist()))


@pytest.mark.parametrize("name", [name for name in CASES if "cap" not in name])
def test_keeps_what_greedy_nms_keeps(name: str) -> None:
    case, _ = CASES[name]
    assert rows_of(exact_nms(candidates_of(case), case.iou_threshold, 300)) == expected(case)


@given(cases())
@settings(deadline=None, max_examples=100)
def test_keeps_what_greedy_nms_keeps_of_anything(case: Case) -> None:
    found = exact_nms(candidates_of(case), case.iou_threshold, case.cap)
    assert rows_of(found) == expected(case)[: case.cap]


def test_nothing_of_nothing() -> None:
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    found = exact_nms(none, 0.5, 300)
    assert found.boxes.shape == (0, 4)
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )


def test_equals_the_oracle_on_as_many_candidates_as_a_graph_has() -> None:
    random = np.random.default_rng(3)
    corner = random.random((5000, 2), np.float32) * 600
    boxes = np.concatenate([corner, corner + random.random((5000, 2), np.float32) * 60 + 4], axis=1)
    scores = random.random(5000, np.float32)
    classes = random.integers(0, 3, 5000)
    found = exact_nms(Detections(boxes, scores, classes), 0.45, 300)
    best = class_wise_nms(*map(torch.from_numpy, (boxes, scores, classes)), 0.45)[:300].numpy()
    np.testing.assert_array_equal(found.boxes, boxes[best])
    np.testing.assert_array_equal(found.scores, scores[best])
    np.testing.assert_array_equal(found.classes, classes[best])
