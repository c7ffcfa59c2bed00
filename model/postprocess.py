"""Post-processing, slow and obvious: the oracle that every exported graph is compared with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from model.boxes import decode_boxes, nms
from model.retinanet import Predictions


class Detections(NamedTuple):
    """One image's detections, by descending score.

    Shapes: boxes [D, 4] xyxy canvas pixels, scores [D], classes [D] int64.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def detections_of(
    predictions: Predictions,
    anchors: list[Tensor],
    image_sizes: Tensor,
    *,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.5,
    pre_nms_top_k: int = 1000,
    max_detections: int = 300,
) -> list[Detections]:
    """The detections of each image of a batch.

    Per level the `pre_nms_top_k` best (anchor, class) pairs with score > `score_threshold` are
    decoded and clipped to the valid image; levels are merged; each class goes through NMS on its
    own; the best `max_detections` are kept.
    Shapes: `image_sizes` int64 [B, 2], valid (height, width).
    Source: Focal Loss paper, sec. 4.1, 'Inference'.
    Departs: boxes without area after clipping are dropped; the paper names no limit on detections.
    """
    results = []
    for levels in candidates_of(predictions, anchors, image_sizes, score_threshold, pre_nms_top_k):
        boxes, scores, classes = (torch.cat(part) for part in zip(*levels, strict=True))
        solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, scores, classes = boxes[solid], scores[solid], classes[solid]
        keep = class_wise_nms(boxes, scores, classes, iou_threshold)[:max_detections]
        results.append(Detections(boxes[keep], scores[keep], classes[keep]))
    return results


def candidates_of(
    predictions: Predictions,
    anchors: list[Tensor],
    image_sizes: Tensor,
    score_threshold: float,
    pre_nms_top_k: int,
) -> list[list[Detections]]:
    """What NMS chooses from, per image and level P3..P7, by descending score.

    The best pairs above the threshold, decoded and clipped to the valid image.
    """
    results = []
    for image, (height, width) in enumerate(image_sizes.tolist()):
        bound = torch.tensor([width, height, width, height], dtype=torch.float32)
        levels = []
        for logits, deltas, level in zip(*predictions, anchors, strict=True):
            scores = torch.sigmoid(logits[image].float()).flatten()
            order = torch.argsort(scores, descending=True, stable=True)[:pre_nms_top_k]
            order = order[scores[order] > score_threshold]
            num_classes = logits.shape[-1]
            index = order // num_classes
            boxes = decode_boxes(deltas[image][index], level[index])
            boxes = boxes.clamp(min=0).minimum(bound)
            levels.append(Detections(boxes, scores[order], order % num_classes))
        results.append(levels)
    return results


def class_wise_nms(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    iou_threshold: float,
    limit: int | None = None,
) -> Tensor:
    """Indices kept by greedy NMS within each class, by descending score (ties: lower index first);
    the first `limit` of them, if there is one.

    A box is suppressed if its IoU with a kept box of its class is > `iou_threshold`.
    """
    kept = [classes[:0]]
    for label in torch.unique(classes):
        own = (classes == label).nonzero()[:, 0]
        kept.append(own[nms(boxes[own], scores[own], iou_threshold, limit)])
    found = torch.cat(kept).sort().values
    return found[torch.argsort(scores[found], descending=True, stable=True)][:limit]
