"""The losses of the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional as F

from model.boxes import decode_boxes, encode_boxes
from model.errors import InputError


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """The alpha-balanced focal loss of each logit, not reduced: -alpha_t (1 - p_t)^gamma log(p_t).

    Shapes: logits and targets of one shape (targets 0 or 1) -> the same shape, float32.
    `alpha` weights positives, 1 - alpha negatives; a negative alpha leaves the balance out.
    Computed from logits in float32, so that it and its gradient are finite for any of them; with
    gamma 0 it is the alpha-balanced cross entropy.
    Source: Focal Loss paper, Eq. 4 and 5.
    """
    logits, targets = logits.float(), targets.float()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # 1 - p_t = sigmoid(-x_t), x_t = +-x: no cancellation near p_t = 1 (Eq. 6). It underflows to 0
    # for x_t > 88, where the power's gradient would be NaN for gamma < 1.
    x_t = logits * (2 * targets - 1)
    miss = torch.sigmoid(-x_t).clamp(min=torch.finfo(torch.float32).tiny)
    loss = cross_entropy * miss**gamma
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss


def smooth_l1_loss(predicted: Tensor, target: Tensor, beta: float) -> Tensor:
    """Smooth L1 of each element, not reduced: quadratic below `beta`, linear above; 0 gives L1.

    Source: Focal Loss paper, sec. 4.1, 'Training' ('the standard smooth L1 loss'): beta 1.
    """
    return F.smooth_l1_loss(predicted.float(), target.float(), beta=beta, reduction="none")


def giou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - generalised IoU of each pair of xyxy boxes, not reduced: [N, 4], [N, 4] -> [N].

    Source: Rezatofighi et al., 2019, Algorithm 1.
    """
    low = torch.maximum(predicted[:, :2], target[:, :2])
    high = torch.minimum(predicted[:, 2:], target[:, 2:])
    intersection = (high - low).clamp(min=0).prod(dim=1)
    hull = torch.maximum(predicted[:, 2:], target[:, 2:]) - torch.minimum(
        predicted[:, :2], target[:, :2]
    )
    areas = (predicted[:, 2:] - predicted[:, :2]).prod(1) + (target[:, 2:] - target[:, :2]).prod(1)
    union = areas - intersection
    eps = 1e-7
    hull_area = hull.prod(dim=1)
    return 1 - intersection / (union + eps) + (hull_area - union) / (hull_area + eps)


@dataclass(frozen=True)
class LossRule:
    """Which losses, and how they are weighed.

    `box`: smooth_l1 (with `beta`), l1 (on deltas), or giou (on decoded boxes).
    Departs: `giou` and `box_weight` are not in the paper, whose choice is smooth_l1 with weight 1.
    """

    alpha: float = 0.25
    gamma: float = 2.0
    box: str = "smooth_l1"
    beta: float = 1.0
    box_weight: float = 1.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.box not in BOX_LOSSES:
            raise InputError(f"box loss {self.box!r}: accepted are {', '.join(BOX_LOSSES)}")
        for name, low, high in (
            ("gamma", 0.0, 5.0),
            ("alpha", -1.0, 1.0),
            ("beta", 0.0, 100.0),
            ("box_weight", 0.0, 1000.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} {value}: accepted are {low} to {high}")


def _delta_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor, beta: float) -> Tensor:
    return smooth_l1_loss(deltas, encode_boxes(boxes, anchors), beta).sum()


def _giou_of_deltas(deltas: Tensor, anchors: Tensor, boxes: Tensor, beta: float) -> Tensor:
    return giou_loss(decode_boxes(deltas, anchors), boxes).sum()


BOX_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "smooth_l1": _delta_loss,
    "l1": lambda deltas, anchors, boxes, beta: _delta_loss(deltas, anchors, boxes, 0.0),
    "giou": _giou_of_deltas,
}
"""Sum over positive anchors: deltas [P, 4], anchors [P, 4], boxes [P, 4], beta -> scalar."""
