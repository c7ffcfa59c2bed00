"""The training loss of a batch: predictions against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.boxes import decode_boxes, paired_iou_of
from model.distributed import sum_across, world_size
from model.losses.boxes import BOX_LOSSES
from model.losses.chunked import Background, Rows, losses_of_anchors, summed_class_loss
from model.losses.mining import hardest_anchors
from model.losses.rule import LossRule
from model.matching import BACKGROUND, Matching, match_anchors
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
    """Scalars: class loss, box loss (both normalised), and the number of positive anchors.

    With several processes the mean of each loss over them is the loss of all their images as one
    batch; `positives` counts this process's own.
    """

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
    """The class loss over all anchors, or the mined ones, plus box loss over the positive ones.

    Both are divided by the number of anchors assigned to a box, at least 1, of each image or of the
    whole batch as `rule.normaliser` says; images without boxes are legal. The class loss of mined
    anchors is divided by their own number: the paper counts assigned anchors since 'the vast
    majority of anchors are easy negatives', and mining leaves none of these; a minibatch is
    averaged as in Fast R-CNN, OHEM's own detector, and stays bounded when no positive is chosen.
    Every process sums across all of them once a call. Training averages gradients over processes,
    so the losses are multiplied by their number: the average is the gradient of the whole batch.
    Source: Focal Loss paper, sec. 4.1, 'Focal Loss' (normaliser), sec. 4, 'Box Regression Subnet'.
    """
    all_anchors = torch.cat(list(anchors))
    assigned = _assigned(all_anchors, targets, matching)
    deltas = torch.cat(predictions.deltas, dim=1)[assigned.image, assigned.anchor].float()
    own_anchors = all_anchors[assigned.anchor]

    logits, loss = predictions.logits, rule.class_loss()
    complete = torch.stack([target.complete for target in targets])
    unlabelled = [(~labelled).nonzero()[:, 0] for labelled in complete]
    quality = torch.ones(len(deltas), device=deltas.device)
    if rule.classes == "quality_focal":
        quality = paired_iou_of(decode_boxes(deltas.detach(), own_anchors), assigned.boxes)
    chosen = assigned.positive
    rows = _rows(chosen, assigned, quality, complete)
    background: Background | None = Background(assigned.box_index == BACKGROUND, unlabelled)
    if rule.mining:
        scores = losses_of_anchors(logits, loss, rows, unlabelled)
        chosen = hardest_anchors(all_anchors, scores, assigned.box_index, rule.mining)
        rows = _rows(chosen, assigned, quality, complete)
        background = None

    class_weights, box_weights = _image_weights(chosen, assigned.positive, rule.normaliser)
    class_loss = summed_class_loss(logits, loss, class_weights, rows, background)
    box_losses = BOX_LOSSES[rule.box](deltas, own_anchors, assigned.boxes, rule.beta)
    box_loss = rule.box_weight * (box_losses * box_weights[assigned.image]).sum()
    return Losses(class_loss, box_loss, assigned.positive.sum())


class _Assigned(NamedTuple):
    """Which box each anchor answers for.

    `box_index` [B, N]: its box in its image, or BACKGROUND or IGNORED. Of the P positive anchors,
    image by image: image, anchor, boxes [P, 4] and classes.
    """

    box_index: Tensor
    image: Tensor
    anchor: Tensor
    boxes: Tensor
    classes: Tensor

    @property
    def positive(self) -> Tensor:
        """Anchors assigned to a box, bool [B, N]."""
        return self.box_index >= 0


def _assigned(anchors: Tensor, targets: Sequence[Target], matching: Matching) -> _Assigned:
    matches, boxes, classes = [], [], []
    for target in targets:
        box_index = match_anchors(anchors, target.boxes, target.ignored, matching).box_index
        owner = box_index[box_index >= 0]
        matches.append(box_index)
        boxes.append(target.boxes[owner])
        classes.append(target.classes[owner])
    of_all = torch.stack(matches)
    image, anchor = (of_all >= 0).nonzero(as_tuple=True)
    return _Assigned(of_all, image, anchor, torch.cat(boxes), torch.cat(classes))


def _rows(chosen: Tensor, assigned: _Assigned, quality: Tensor, complete: Tensor) -> Rows:
    """The chosen anchors [B, N] with their targets: `quality` [P] in a positive one's class."""
    image, anchor = chosen.nonzero(as_tuple=True)
    # A positive anchor knows its object, so it speaks about every class.
    counted = complete[image] | assigned.positive[image, anchor, None]
    row = torch.full_like(assigned.box_index, -1)
    row[image, anchor] = torch.arange(len(image), device=row.device)
    of_positive = row[assigned.image, assigned.anchor]
    kept = of_positive >= 0
    targets = torch.zeros_like(counted, dtype=torch.float32)
    targets[of_positive[kept], assigned.classes[kept]] = quality[kept]
    return Rows(image, anchor, targets, counted)


def _image_weights(chosen: Tensor, positive: Tensor, normaliser: str) -> tuple[Tensor, Tensor]:
    """What each image's summed class loss and box loss are multiplied by, [B] each."""
    counts = torch.stack([chosen.sum(dim=1), positive.sum(dim=1)])
    images = counts.new_tensor([counts.shape[1]])
    totals = sum_across(torch.cat([counts.sum(dim=1), images]))
    if normaliser == "image":
        divisors = counts.clamp(min=1) * totals[2]
    else:
        divisors = totals[:2, None].clamp(min=1).expand_as(counts)
    class_weights, box_weights = world_size() / divisors
    return class_weights, box_weights
