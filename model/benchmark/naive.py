"""The training loss as torchvision writes it: the yardstick of the benchmarks, and an oracle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.boxes import encode_boxes
from model.criterion import Target
from model.matching import Matching
from model.retinanet import Predictions


def naive_detection_loss(
    predictions: Predictions,
    anchors: Sequence[Tensor],
    targets: Sequence[Target],
    alpha: float,
    gamma: float,
) -> tuple[Tensor, Tensor]:
    """Class loss and box loss, equal to those of `detection_loss` with an L1 box loss and the
    normaliser `image`, for targets without ignored regions and with complete labels.

    Each image in turn: the IoU of all its boxes with all anchors at once, a dense one-hot, the
    focal loss over all of it in plain autograd.
    Source: torchvision 0.20, models/detection/retinanet.py and ops/focal_loss.py.
    Departs: low-quality matches as in `model.matching`, so that the losses are equal.
    """
    logits = torch.cat(predictions.logits, dim=1)
    deltas = torch.cat(predictions.deltas, dim=1)
    all_anchors = torch.cat(list(anchors))
    class_losses, box_losses = [], []
    for image, target in enumerate(targets):
        box_index = _match(all_anchors, target.boxes)
        positive = (box_index >= 0).nonzero()[:, 0]
        owner = box_index[positive]
        labels = torch.zeros_like(logits[image])
        labels[positive, target.classes[owner]] = 1.0
        counted = box_index != _BETWEEN
        class_loss = _focal_loss(logits[image][counted], labels[counted], alpha, gamma).sum()
        target_deltas = encode_boxes(target.boxes[owner], all_anchors[positive])
        box_loss = F.l1_loss(deltas[image][positive], target_deltas, reduction="sum")
        class_losses.append(class_loss / max(1, len(positive)))
        box_losses.append(box_loss / max(1, len(positive)))
    return torch.stack(class_losses).mean(), torch.stack(box_losses).mean()


def _focal_loss(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    p = torch.sigmoid(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    p_t = p * labels + (1 - p) * (1 - labels)
    alpha_t = alpha * labels + (1 - alpha) * (1 - labels)
    return alpha_t * (cross_entropy * (1 - p_t) ** gamma)


_BACKGROUND, _BETWEEN = -1, -2


def _match(anchors: Tensor, boxes: Tensor) -> Tensor:
    box_index = torch.full((len(anchors),), _BACKGROUND, device=anchors.device)
    if len(boxes) == 0:
        return box_index
    rule = Matching()
    iou = _box_iou(boxes, anchors)
    best, nearest = iou.max(dim=0)
    box_index[best >= rule.background] = _BETWEEN
    box_index[best >= rule.foreground] = nearest[best >= rule.foreground]
    best_of_box = iou.max(dim=1).values
    # The closest box first: it gets an anchor that several want.
    for box in best_of_box.argsort(descending=True, stable=True).tolist():
        if 0 < best_of_box[box] < rule.foreground:
            own = (iou[box] == best_of_box[box]) & (box_index < 0)
            box_index[own] = box
    return box_index


def _box_iou(a: Tensor, b: Tensor) -> Tensor:
    low = torch.max(a[:, None, :2], b[:, :2])
    high = torch.min(a[:, None, 2:], b[:, 2:])
    sides = (high - low).clamp(min=0)
    intersection = sides[:, :, 0] * sides[:, :, 1]
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b)]
    return intersection / (areas[0][:, None] + areas[1] - intersection)
