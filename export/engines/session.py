"""A session: a loaded detector that can run a batch, behind one protocol. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from export.engines.device import Device
from export.manifest import Manifest, Precision


@dataclass(frozen=True)
class SessionRule:
    """What to open, and where; see `export.engines.registry.open_session`.

    `path`: a bundle's folder or a checkpoint's file. `precision`: None takes the first that the
    engine can use. `threads`: cores for an engine on the CPU. `scales` (what to serve; by default
    the scale of the training) and `compiled` (torch.compile) are for a checkpoint alone.
    """

    path: Path
    device: Device
    precision: Precision | None = None
    threads: int = 1
    scales: tuple[int, ...] = ()
    compiled: bool = False


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


class OutOfMemory(SessionError):
    """The device had no memory left for this batch; a smaller one may still run."""


class DeviceFault(SessionError):
    """The device is lost to this process: nothing runs on it until the process is started anew."""


class Session(Protocol):
    """A loaded graph. `run` is called from one thread at a time, not always the same one."""

    manifest: Manifest
    engine: str
    """What runs the graph, for people: onnxruntime-1.32.0."""
    precision: Precision
    max_batch: int | None
    """Images that one run may hold at most; None: any number."""
    parity: dict[str, Any]
    """What `verify` measured on the graph that runs, as its manifest has it; empty if nothing."""

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
