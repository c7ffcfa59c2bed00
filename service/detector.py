"""One image through the service: decode, queue, inference, postprocess."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.engines.session import Detections
from service.detections import Options, finish
from service.errors import Problem
from service.pictures.decoding import in_pool
from service.pictures.images import PreparedImage, prepare_array
from service.runtime import Runtime
from service.served import ServedModel
from service.telemetry.metrics import outcome_of
from service.telemetry.stages import StageClock

CLIENT_LEFT = 499

TIMER_SLACK_S = 0.01
"""How early a deadline's timer may fire: uvloop counts whole milliseconds on a cached clock."""


class Found(NamedTuple):
    """Detections in image pixels, as the options ask; `image_size` (height, width) once upright."""

    detections: Detections
    image_size: tuple[int, int]


def check_room(model: ServedModel, options: Options, deadline: float | None) -> None:
    """Raises what an image with these options would be refused with if it came now."""
    canvases = model.manifest.canvases_by_scale[options.scale]
    model.batcher.check_room(canvases, options.engine_thresholds(model.manifest), deadline)


async def detect(
    runtime: Runtime,
    model: ServedModel,
    image: bytes | NDArray[np.uint8],
    options: Options,
    stages: StageClock,
    deadline: float | None,
) -> Found:
    """What a model detects in a picture file, or in pixels: uint8 RGB [H, W, 3].

    Counted by outcome; raises a Problem.
    """
    canvases = model.manifest.canvases_by_scale[options.scale]
    thresholds = options.engine_thresholds(model.manifest)
    with (
        _counted(runtime, deadline),
        model.batcher.admit(canvases, thresholds, deadline) as admitted,
    ):
        stages.enter("decode")
        canvas, place = await _prepared(runtime, model, image, options.scale)
        stages.enter("queue")
        answer = await model.batcher.submit(admitted, canvas, place.resized, options.chaos)
        stages.enter("inference", at=answer.dispatched_at)
        stages.batch_size = answer.batch_size
        stages.enter("postprocess")
        found = finish(answer.detections, place, options)
    height, width = place.image_size
    runtime.metrics.image_pixels.observe(height * width)
    runtime.metrics.scales.labels(str(options.scale)).inc()
    runtime.metrics.detections.observe(len(found))
    stages.enter("encode")
    return Found(found, place.image_size)


async def _prepared(
    runtime: Runtime, model: ServedModel, image: bytes | NDArray[np.uint8], scale: int
) -> PreparedImage:
    if isinstance(image, bytes):
        return await runtime.decoding.prepare(image, scale, model.manifest)
    return await in_pool(runtime.decoders, prepare_array, image, scale, model.manifest)


@contextmanager
def _counted(runtime: Runtime, deadline: float | None) -> Iterator[None]:
    """Counts an image by what becomes of it in the block."""
    status = CLIENT_LEFT
    try:
        yield
        status = 200
    except Problem as problem:
        status = problem.status
        raise
    except asyncio.CancelledError:
        if deadline is not None and runtime.clock() >= deadline - TIMER_SLACK_S:
            status = 504
        raise
    except Exception:
        status = 500
        raise
    finally:
        runtime.metrics.images.labels(outcome_of(status)).inc()
