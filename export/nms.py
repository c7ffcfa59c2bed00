"""Class-wise NMS as one torch operator that becomes ONNX NonMaxSuppression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18
from torch import Tensor

from model.postprocess import class_wise_nms


@torch.library.custom_op("retinaserve::nms_keep", mutates_args=())
def nms_keep(
    boxes: Tensor,
    scores: Tensor,
    max_per_class: int,
    score_threshold: Tensor,
    iou_threshold: Tensor,
) -> Tensor:
    """Which candidates class-wise NMS keeps, 1.0 or 0.0.

    Shapes: boxes [B, N, 4] xyxy, scores [B, K, N] (a candidate's score in its own class's row, 0 in
    the others), thresholds float32 [1] -> float32 [B, N].
    Suppresses if IoU > `iou_threshold`, considers scores > `score_threshold`, exactly as ONNX does:
    per class from the scores' rows, never by moving boxes apart by a class offset, which flips
    decisions in float32.
    """
    keep = scores.new_zeros(boxes.shape[:2])
    for image in range(len(boxes)):
        best, classes = scores[image].max(dim=0)
        candidates = (best > score_threshold).nonzero()[:, 0]
        kept = class_wise_nms(
            boxes[image][candidates], best[candidates], classes[candidates], iou_threshold.item()
        )
        for label in range(scores.shape[1]):
            of_class = kept[classes[candidates[kept]] == label][:max_per_class]
            keep[image, candidates[of_class]] = 1.0
    return keep


@nms_keep.register_fake
def _(
    boxes: Tensor,
    scores: Tensor,
    max_per_class: int,
    score_threshold: Tensor,
    iou_threshold: Tensor,
) -> Tensor:
    return scores.new_empty(boxes.shape[:2])


def _to_onnx(
    boxes: Any, scores: Any, max_per_class: int, score_threshold: Any, iou_threshold: Any
) -> Any:
    op: Any = opset18  # its type hints don't accept its own results
    # The cap must be given: its default of 0 keeps nothing.
    cap = op.Constant(value_ints=[max_per_class])
    selected = op.NonMaxSuppression(boxes, scores, cap, iou_threshold, score_threshold)
    places = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)
    empty = op.Mul(op.ReduceMax(scores, op.Constant(value_ints=[1]), keepdims=0), 0.0)
    count = op.Shape(places, start=0, end=1)
    ones = op.Expand(op.Constant(value_floats=[1.0]), count)
    return op.ScatterND(empty, places, ones)


TRANSLATION: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.retinaserve.nms_keep.default: _to_onnx
}
