"""Every shape that can ever run, run once before the server says that it is ready."""

from __future__ import annotations

import ctypes
import math

import numpy as np

from export.manifest import Manifest
from model.letterbox import Canvas
from service.engine.engine import Engine
from service.scheduling.schedule import Entry, Key, Limits

MAX_WAIT_S = 60
"""What a client is told at most to wait: the shapes left may be quicker than those that ran."""

Shape = tuple[Canvas, int]
"""A canvas and how many images share its batch."""


def shapes_of(manifest: Manifest, limits: Limits) -> list[Shape]:
    """All the shapes that batches of this bundle can take within the limits."""
    canvases = dict.fromkeys(c for group in manifest.canvases_by_scale.values() for c in group)
    return [(c, size) for c in canvases for size in range(1, limits.capacity(c) + 1)]


async def warm(engine: Engine, manifest: Manifest, shape: Shape) -> None:
    """Runs one shape on grey images; raises what the engine raises."""
    canvas, size = shape
    thresholds = manifest.thresholds
    key = Key(canvas, thresholds.score_threshold, thresholds.iou_threshold)
    grey = np.full((*canvas, 3), 128, np.uint8)
    await engine.run([Entry(key, grey, (canvas.height, canvas.width), 0.0) for _ in range(size)])


def warm_up_wait_s(elapsed_s: float, done: int, total: int) -> int:
    """Whole seconds until the warm-up is over, from 1 to MAX_WAIT_S, as quick as it went so far.

    Before the first shape has run, that it takes the time elapsed at least.
    """
    left_s = elapsed_s / max(done, 1) * (total - done)
    return min(max(math.ceil(left_s), 1), MAX_WAIT_S)


def trim_heap() -> None:
    """Hands back what loading and warming have freed; without glibc there is nothing to call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
