"""Detections written by hand."""

from __future__ import annotations

import numpy as np

from model.evaluation.coco_metrics import ImageDetections


def found(*entries: tuple[list[float], float, int]) -> ImageDetections:
    """One image's, each as (box, score, class)."""
    boxes, scores, classes = zip(*entries, strict=True) if entries else ((), (), ())
    return ImageDetections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
    )
