"""The NMS operator, in torch and in ONNX Runtime, against greedy NMS in whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from export.nms import TRANSLATION, nms_keep
from tests.export.nms_cases import CASES, Case, cases, greedy

(_to_onnx,) = TRANSLATION.values()


def arrays(case: Case, num_classes: int = 3) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    boxes = np.array([case.boxes], np.float32)
    scores = np.zeros((1, num_classes, len(case.boxes)), np.float32)
    scores[0, case.classes, np.arange(len(case.boxes))] = case.scores
    return boxes, scores


def eager(case: Case) -> list[bool]:
    boxes, scores = arrays(case)
    keep = nms_keep(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        case.cap,
        torch.tensor([case.score_threshold]),
        torch.tensor([case.iou_threshold]),
    )
    assert keep.dtype == torch.float32
    assert set(keep.unique().tolist()) <= {0.0, 1.0}
    return keep[0].bool().tolist()


def in_onnx_runtime(case: Case) -> list[bool]:
    """The operators that the exporter writes, each run by ONNX Runtime."""
    boxes, scores = arrays(case)
    keep = _to_onnx(
        boxes,
        scores,
        case.cap,
        np.array([case.score_threshold], np.float32),
        np.array([case.iou_threshold], np.float32),
    )
    return np.asarray(keep.value)[0].astype(bool).tolist()


@pytest.mark.parametrize("name", CASES)
def test_keeps_what_greedy_nms_keeps(name: str) -> None:
    case, expected = CASES[name]
    assert greedy(case) == expected
    assert eager(case) == expected
    assert in_onnx_runtime(case) == expected


@given(cases())
@settings(deadline=None, max_examples=60)
def test_keeps_what_greedy_nms_keeps_of_anything(case: Case) -> None:
    assert eager(case) == greedy(case)


@given(cases())
@settings(deadline=None, max_examples=15)  # a session for each operator: a tenth of a second
def test_onnx_runtime_keeps_what_greedy_nms_keeps_of_anything(case: Case) -> None:
    assert in_onnx_runtime(case) == greedy(case)


def test_images_of_a_batch_are_apart() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10]] * 2, [[0.0, 0, 10, 10], [20, 0, 30, 10]]])
    scores = torch.tensor([[[0.5, 0.75]], [[0.5, 0.75]]])
    keep = nms_keep(boxes, scores, 300, torch.tensor([0.0]), torch.tensor([0.5]))
    assert keep.tolist() == [[0.0, 1.0], [1.0, 1.0]]
