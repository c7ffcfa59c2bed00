"""Post-processing of a batch, fast: the same detections as the oracle `model.postprocess`."""

from __future__ import annotations

import torch
from torch import Tensor

from model.boxes import area_of, decode_boxes
from model.postprocess import Detections, class_wise_nms
from model.retinanet import Predictions


def batch_detections(
    predictions: Predictions,
    anchors: list[Tensor],
    image_sizes: Tensor,
    *,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.5,
    pre_nms_top_k: int = 1000,
    max_detections: int = 300,
) -> list[Detections]:
    """What `model.postprocess.detections_of` finds, on the predictions' device.

    Only the pairs above the threshold are sorted, those of all images at once, and NMS stops at
    `max_detections`.
    Shapes: `image_sizes` int64 [B, 2], valid (height, width).
    """
    bounds = image_sizes.flip(1).repeat(1, 2).to(anchors[0])
    parts = []
    for logits, deltas, level in zip(*predictions, anchors, strict=True):
        num_classes = logits.shape[-1]
        scores = torch.sigmoid(logits.float()).flatten(1)
        image, pair = (scores > score_threshold).nonzero(as_tuple=True)
        scores = scores[image, pair]
        best = _best_of_each(image, scores, pre_nms_top_k)
        image, pair, scores = image[best], pair[best], scores[best]
        index = pair // num_classes
        boxes = decode_boxes(deltas[image, index], level[index])
        boxes = boxes.clamp(min=0).minimum(bounds[image])
        solid = area_of(boxes) > 0
        parts.append([part[solid] for part in (image, boxes, scores, pair % num_classes)])
    image, boxes, scores, classes = (torch.cat(part) for part in zip(*parts, strict=True))
    order = _by_image_and_score(image, scores)
    counts = torch.bincount(image, minlength=len(image_sizes)).tolist()
    results = []
    for own in torch.split(order, counts):
        found = Detections(boxes[own], scores[own], classes[own])
        keep = class_wise_nms(*found, iou_threshold, max_detections)
        results.append(Detections(*(part[keep] for part in found)))
    return results


def _best_of_each(image: Tensor, scores: Tensor, most: int) -> Tensor:
    """Indices of each image's `most` best scores, by image and descending score."""
    order = _by_image_and_score(image, scores)
    counts = torch.bincount(image)
    first = (counts.cumsum(0) - counts)[image[order]]
    rank = torch.arange(len(order), device=order.device) - first
    return order[rank < most]


def _by_image_and_score(image: Tensor, scores: Tensor) -> Tensor:
    """The order by image, then by descending score, ties as they come."""
    by_score = torch.argsort(scores, descending=True, stable=True)
    return by_score[torch.argsort(image[by_score], stable=True)]
