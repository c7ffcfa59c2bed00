"""Detections out of what a graph of the tensor flavour gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.engines.exact_nms import exact_nms
from export.engines.session import Detections


def detections_of(
    found: Sequence[NDArray[Any]],
    candidates: Callable[[], Sequence[NDArray[Any]]],
    iou_threshold: float,
    max_detections: int,
) -> list[Detections]:
    """The detections of each image of a batch.

    `found`: num_detections, boxes, scores, classes and converged. Where an image has not converged,
    exact NMS of its `candidates` (boxes, scores, classes), which are fetched only then.
    """
    counts, boxes, scores, classes, converged = found
    detections = [
        Detections(boxes[i, :n].copy(), scores[i, :n].copy(), classes[i, :n].astype(np.int64))
        for i, n in enumerate(counts.tolist())
    ]
    if not converged.all():
        parts = candidates()
        for i in np.flatnonzero(~converged).tolist():
            own = Detections(*(part[i] for part in parts))
            detections[i] = exact_nms(own, iou_threshold, max_detections)
    return detections
