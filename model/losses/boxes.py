"""The box losses: predicted deltas of positive anchors against their boxes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from model.boxes import area_of, decode_boxes, encode_boxes, paired_intersection_of


def smooth_l1_loss(predicted: Tensor, target: Tensor, beta: float) -> Tensor:
    """Smooth L1 of each element, not reduced: quadratic below `beta`, linear above; 0 gives L1.

    Source: Focal Loss paper, sec. 4.1, 'Optimization' ('the standard smooth L1 loss'): beta 1.
    """
    return F.smooth_l1_loss(predicted, target, beta=beta, reduction="none")


def giou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - generalised IoU of each pair of xyxy boxes, not reduced: [N, 4], [N, 4] -> [N].

    Source: Rezatofighi et al., 2019, Algorithm 1.
    """
    intersection = paired_intersection_of(predicted, target)
    union = area_of(predicted) + area_of(target) - intersection
    low = torch.minimum(predicted[:, :2], target[:, :2])
    high = torch.maximum(predicted[:, 2:], target[:, 2:])
    hull = (high - low).prod(dim=1)
    eps = 1e-7
    return 1 - intersection / (union + eps) + (hull - union) / (hull + eps)


def _smooth_l1(deltas: Tensor, anchors: Tensor, boxes: Tensor, beta: float) -> Tensor:
    return smooth_l1_loss(deltas, encode_boxes(boxes, anchors), beta).sum(dim=1)


def _l1(deltas: Tensor, anchors: Tensor, boxes: Tensor, beta: float) -> Tensor:
    return _smooth_l1(deltas, anchors, boxes, 0.0)


def _giou(deltas: Tensor, anchors: Tensor, boxes: Tensor, beta: float) -> Tensor:
    return giou_loss(decode_boxes(deltas, anchors), boxes)


BOX_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "smooth_l1": _smooth_l1,
    "l1": _l1,
    "giou": _giou,
}
"""Of each positive anchor: deltas [P, 4], anchors [P, 4], boxes [P, 4], beta -> [P], float32."""
