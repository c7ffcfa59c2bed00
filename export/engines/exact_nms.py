"""Greedy class-wise NMS on the host, for the rare image whose graph did not settle. No torch."""

from __future__ import annotations

import numpy as np

from export.engines.overlap import iou_of
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
            iou = iou_of(boxes[best], boxes[rest], np.float32)
            free[rest] = ~(iou > np.float32(iou_threshold))
    return Detections(boxes[kept], scores[kept], classes[kept])
