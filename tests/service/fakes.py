"""A small manifest, and sessions and engines that do as a test says."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.engines.session import Detections
from export.manifest import Graph, Manifest, Thresholds
from model.geometry import AnchorSpec
from service.scheduling.schedule import Entry


def make_manifest(**changes: object) -> Manifest:
    facts: dict[str, object] = {
        "name": "cells",
        "version": "1",
        "classes": ["Platelets", "RBC", "WBC"],
        "anchors": AnchorSpec(),
        "canvases": {64: ["64x96"], 128: ["128x160", "160x128"]},
        "default_scale": 128,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "thresholds": Thresholds(max_detections=300),
        "graphs": [
            Graph(file="m.onnx", precision="fp32", sha256="0" * 64, opset=18, parity={"box": 0.1})
        ],
    }
    return Manifest.model_validate(facts | changes)


def detections(*rows: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    boxes, scores, classes = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
    )


THREE = detections(
    ((8.0, 16.0, 40.0, 48.0), 0.9, 1),
    ((0.0, 0.0, 20.0, 10.0), 0.5, 0),
    ((50.0, 50.0, 60.0, 70.0), 0.25, 1),
)


class FakeSession:
    """Finds THREE in every image; `on_run` may raise or answer instead. Keeps what it was given."""

    engine = "fake-1"
    precision = "fp32"
    max_batch = None

    def __init__(
        self,
        manifest: Manifest | None = None,
        on_run: Callable[[NDArray[np.uint8]], list[Detections] | None] = lambda _: None,
    ) -> None:
        self.manifest = manifest or make_manifest()
        self.parity = self.manifest.graphs[0].parity
        self.on_run = on_run
        self.runs: list[tuple[tuple[int, ...], list[list[int]], float, float]] = []

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        self.runs.append((images.shape, image_sizes.tolist(), score_threshold, iou_threshold))
        found = self.on_run(images)
        return [THREE] * len(images) if found is None else found


class HeldEngine:
    """An engine whose runs last until the test releases them."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Entry]] = []
        self._held: list[asyncio.Future[list[Detections]]] = []
        self.hold = True
        self.begun = asyncio.Event()
        """Set when a run is held."""

    async def run(self, batch: Sequence[Entry]) -> list[Detections]:
        self.batches.append(batch)
        if not self.hold:
            return [THREE] * len(batch)
        held = asyncio.get_running_loop().create_future()
        self._held.append(held)
        self.begun.set()
        return await held

    def release(self, found: list[Detections] | None = None) -> None:
        held = self._held.pop(0)
        held.set_result([THREE] * len(self.batches[-1]) if found is None else found)

    def fail(self) -> None:
        self._held.pop(0).set_exception(RuntimeError("the engine broke"))

    def close(self) -> None:
        self.closed = True

    def release_all(self) -> None:
        self.hold = False
        while self._held:
            self.release()


def picture(width: int = 160, height: int = 128, kind: str = "PNG", **options: object) -> bytes:
    """A picture file with a gradient in it."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


async def settle(rounds: int = 5) -> None:
    """Lets every task that can go on, go on."""
    for _ in range(rounds):
        await asyncio.sleep(0)
