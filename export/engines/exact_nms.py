"""Greedy class-wise NMS on the host, for the rare image whose graph did not settle. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.engines.session import Detections


def exact_nms(candidates: Detections, iou_threshold: float, max_detections: int) -> Detections:
    """The first `max_detections` of an image's candidates that greedy NMS keeps.

    By descending score (ties: lower index first); a score of 0 marks no candidate. One is
    suppressed if its IoU with a kept one of its class is > `iou_threshold`, computed in float32 as
    the graph does.
    """
    boxes, scores, classes = candidates.boxes, candidates.scores, candidates.classes
    order = np.argsort(-scores, kind="stable")
    free = scores > 0
    kept: list[int] = []
    for place, best in enumerate(order):
        if len(kept) == max_detections:
            break
        if free[best]:
            kept.append(best)
            rest = order[place + 1 :]
            rest = rest[free[rest] & (classes[rest] == classes[best])]
            free[rest] = ~(_iou_of(boxes[best], boxes[rest]) > np.float32(iou_threshold))
    return Detections(boxes[kept], scores[kept], classes[kept])


def _iou_of(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of a box [4] with others [N, 4] -> [N]; all have an area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - intersection
    iou: NDArray[np.float32] = intersection / union
    return iou
