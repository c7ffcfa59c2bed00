"""Boxes: overlap, and the deltas that move anchors onto them."""

from __future__ import annotations

import torch
from torch import Tensor

from model.geometry import MAX_LOG_RATIO


def area_of(boxes: Tensor) -> Tensor:
    """Areas [...] of xyxy boxes [..., 4]; negative sides count as zero."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def paired_intersection_of(a: Tensor, b: Tensor) -> Tensor:
    """Intersection areas of xyxy boxes, one by one: [..., 4] and [..., 4], broadcast -> [...]."""
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    return width.clamp(min=0) * height.clamp(min=0)


def intersection_of(a: Tensor, b: Tensor) -> Tensor:
    """Pairwise intersection areas of xyxy boxes: [N, 4] and [M, 4] -> [N, M]."""
    return paired_intersection_of(a[:, None], b[None])


def paired_iou_of(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes one by one: [..., 4] and [..., 4], broadcast -> [...].

    0 where both areas are 0.
    """
    intersection = paired_intersection_of(a, b)
    union = area_of(a) + area_of(b) - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


def iou_of(a: Tensor, b: Tensor) -> Tensor:
    """Pairwise intersection over union: [N, 4] and [M, 4] -> [N, M]; 0 where both areas are 0."""
    return paired_iou_of(a[:, None], b[None])


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Deltas that move anchors onto boxes; the inverse of `decode_boxes`.

    Shapes: (..., 4) and (..., 4) -> (..., 4), float32.
    Units: xyxy in canvas pixels -> dimensionless (dx, dy, log dw, log dh).
    Source: Focal Loss paper, sec. 4, 'Box Regression Subnet'; the parameterisation of R-CNN.
    """
    sizes = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + sizes / 2
    box_sizes = boxes[..., 2:] - boxes[..., :2]
    box_centres = boxes[..., :2] + box_sizes / 2
    return torch.cat([(box_centres - centres) / sizes, torch.log(box_sizes / sizes)], dim=-1)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Boxes predicted by deltas around anchors; the inverse of `encode_boxes`.

    Shapes: (..., 4) and (..., 4) -> (..., 4), float32.
    Units: deltas are dimensionless (dx, dy, log dw, log dh); anchors and boxes are xyxy in canvas
    pixels, not clipped.
    Source: Focal Loss paper, sec. 4, 'Box Regression Subnet'; the parameterisation of R-CNN.
    Departs: log dw and log dh are clamped at log(1000/16) to bound exp().
    """
    deltas = deltas.float()
    sizes = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + sizes / 2 + deltas[..., :2] * sizes
    half = sizes * torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_RATIO)) / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int | None = None) -> Tensor:
    """Indices that greedy non-maximum suppression keeps, by descending score (ties: lower first).

    A box is suppressed if its IoU with a kept one is > `iou_threshold`. With a `limit` the first
    that many, exactly, without looking at more boxes than it takes to find them.
    Shapes: boxes [N, 4] xyxy, scores [N] -> int64 [at most N].
    """
    order = torch.argsort(scores, descending=True, stable=True)
    kept = order[:0]
    limit = len(order) if limit is None else limit
    for block in torch.split(order, _NMS_BLOCK):
        block = block[~(iou_of(boxes[kept], boxes[block]) > iou_threshold).any(dim=0)]
        later = (iou_of(boxes[block], boxes[block]) > iou_threshold).triu(diagonal=1)
        keep, settled = torch.ones_like(block, dtype=torch.bool), False
        # Row by row what is decided stays so: the rounds end at the greedy answer, after as many
        # as the longest chain of boxes that suppress each other. Three times faster than a loop.
        while not settled:
            before, keep = keep, ~(later & keep[:, None]).any(dim=0)
            settled = torch.equal(keep, before)
        kept = torch.cat([kept, block[keep]])
        if len(kept) >= limit:
            break
    return kept[:limit]


_NMS_BLOCK = 128
"""Boxes that are compared with each other at a time."""
