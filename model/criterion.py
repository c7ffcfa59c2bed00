"""The training loss of a batch: predictions against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses import BOX_LOSSES, LossRule, sigmoid_focal_loss
from model.matching import Matching, match_anchors
from model.retinanet import Predictions


class Target(NamedTuple):
    """One image's ground truth on its canvas.

    Shapes: boxes [M, 4] xyxy canvas pixels, classes [M] int64, ignored [R, 4] (crowd regions, whose
    background anchors are left out), complete bool [K]: False for a class that is not labelled
    everywhere in the image; background anchors then say nothing about it.
    """

    boxes: Tensor
    classes: Tensor
    ignored: Tensor
    complete: Tensor


class Losses(NamedTuple):
    """Scalars: class loss, box loss (both normalised), and the number of positive anchors."""

    classes: Tensor
    boxes: Tensor
    positives: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.classes + self.boxes


def detection_loss(
    predictions: Predictions,
    anchors: Sequence[Tensor],
    targets: Sequence[Target],
    matching: Matching,
    rule: LossRule,
) -> Losses:
    """Focal loss over all anchors plus box loss over the positive ones.

    Both are divided by the number of anchors assigned to a box in the batch, at least 1. Images
    without boxes are legal: the box term then is a zero that still reaches every parameter.
    Source: Focal Loss paper, sec. 4, 'Focal Loss' (normaliser) and 'Box Regression Subnet'.
    Departs: the normaliser is per batch, the paper's per image: small objects' images weigh less.
    """
    all_anchors = torch.cat(list(anchors))
    logits = torch.cat(predictions.logits, dim=1).float()
    deltas = torch.cat(predictions.deltas, dim=1).float()
    class_sum = logits.new_zeros(())
    box_sum = deltas.sum() * 0
    positives = 0
    for image, target in enumerate(targets):
        matches = match_anchors(all_anchors, target.boxes, target.ignored, matching)
        positive = matches.positive
        owner = matches.box_index[positive]
        labels = torch.zeros_like(logits[image])
        labels[positive.nonzero()[:, 0], target.classes[owner]] = 1
        # A positive anchor knows its object, so it speaks about every class.
        counted = matches.counted[:, None] & (positive[:, None] | target.complete)
        class_losses = sigmoid_focal_loss(
            logits[image][counted], labels[counted], rule.alpha, rule.gamma
        )
        class_sum = class_sum + class_losses.sum()
        positives += len(owner)
        box_sum = box_sum + BOX_LOSSES[rule.box](
            deltas[image][positive], all_anchors[positive], target.boxes[owner], rule.beta
        )
    normaliser = max(1, positives)
    return Losses(
        class_sum / normaliser,
        rule.box_weight * box_sum / normaliser,
        torch.tensor(positives, device=logits.device),
    )
