"""Boxes: overlap, and the deltas that move anchors onto them."""

from __future__ import annotations

import torch
from torch import Tensor

from model.geometry import MAX_LOG_RATIO


def area_of(boxes: Tensor) -> Tensor:
    """Areas [...] of xyxy boxes [..., 4]; negative sides count as zero."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection_of(a: Tensor, b: Tensor) -> Tensor:
    """Pairwise intersection areas of xyxy boxes: [N, 4] and [M, 4] -> [N, M]."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = (high - low).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou_of(a: Tensor, b: Tensor) -> Tensor:
    """Pairwise intersection over union: [N, 4] and [M, 4] -> [N, M]; 0 where both areas are 0."""
    intersection = intersection_of(a, b)
    union = area_of(a)[:, None] + area_of(b)[None, :] - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


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
