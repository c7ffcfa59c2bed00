"""What goes into a graph and what is made of what comes out, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.engines.exact_nms import exact_nms
from export.engines.session import Detections


def feed_for(
    images: NDArray[np.uint8],
    image_sizes: NDArray[np.int64],
    score_threshold: float,
    iou_threshold: float,
) -> dict[str, NDArray[Any]]:
    """A graph's inputs for a run, by name; see `export.engines.session.Session.run`."""
    return {
        "images": images,
        "image_sizes": image_sizes,
        "score_threshold": np.array([score_threshold], np.float32),
        "iou_threshold": np.array([iou_threshold], np.float32),
    }


def detections_in(found: Sequence[NDArray[Any]]) -> list[Detections]:
    """The detections of each image, without the padding: copies of num_detections, boxes, scores
    and classes.
    """
    counts, boxes, scores, classes = found
    return [
        Detections(boxes[i, :n].copy(), scores[i, :n].copy(), classes[i, :n].astype(np.int64))
        for i, n in enumerate(counts.tolist())
    ]


def settled_detections(
    found: Sequence[NDArray[Any]],
    candidates: Callable[[], Sequence[NDArray[Any]]],
    iou_threshold: float,
    max_detections: int,
) -> list[Detections]:
    """The detections of each image, of a graph of the tensor flavour.

    `found`: num_detections, boxes, scores, classes and converged. Where an image has not converged,
    exact NMS of its `candidates` (boxes, scores, classes), which are fetched only then.
    """
    *rows, converged = found
    detections = detections_in(rows)
    if not converged.all():
        parts = candidates()
        for i in np.flatnonzero(~converged).tolist():
            own = Detections(*(part[i] for part in parts))
            detections[i] = exact_nms(own, iou_threshold, max_detections)
    return detections
