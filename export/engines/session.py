"""A session: a loaded detector that can run a batch, behind one protocol. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from export.manifest import Manifest, Precision

INPUTS = ("images", "image_sizes", "score_threshold", "iou_threshold")
OUTPUTS = ("num_detections", "boxes", "scores", "classes")


@dataclass(frozen=True)
class Detections:
    """One image's detections, scores descending.

    `boxes` float32 [N, 4] xyxy (canvas pixels as a session gives them), `scores` float32 [N],
    `classes` int64 [N] (class indices).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, keep: NDArray[np.bool_] | slice) -> Detections:
        """The rows that `keep` picks, order kept."""
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])


class SessionError(RuntimeError):
    """The engine failed on a batch; the cause is chained and belongs in the log alone."""


class Session(Protocol):
    """A loaded graph. `run` is called from one thread at a time, not always the same one."""

    manifest: Manifest
    engine: str
    """What runs the graph, for people: onnxruntime-1.32.0."""
    precision: Precision

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """The detections of each image, boxes in canvas pixels; SessionError if the engine fails.

        Shapes: images [B, H, W, 3], image_sizes [B, 2]: valid (height, width) in the canvas.
        """
