"""One image through the service: decode, queue, inference, postprocess."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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
    data: bytes,
    options: Options,
    stages: StageClock,
    deadline: float | None,
) -> Found:
    """What a model detects in one picture file, counted by outcome; raises a Problem."""

    def prepare() -> Awaitable[PreparedImage]:
        return runtime.decoding.prepare(data, options.scale, model.manifest)

    return await _counted(runtime, model, prepare, options, stages, deadline)


async def detect_array(
    runtime: Runtime,
    model: ServedModel,
    image: NDArray[np.uint8],
    options: Options,
    stages: StageClock,
    deadline: float | None,
) -> Found:
    """What a model detects in one image, uint8 RGB [H, W, 3]; otherwise as `detect`."""

    def prepare() -> Awaitable[PreparedImage]:
        return in_pool(runtime.decoders, prepare_array, image, options.scale, model.manifest)

    return await _counted(runtime, model, prepare, options, stages, deadline)


async def _counted(
    runtime: Runtime,
    model: ServedModel,
    prepare: Callable[[], Awaitable[PreparedImage]],
    options: Options,
    stages: StageClock,
    deadline: float | None,
) -> Found:
    status = CLIENT_LEFT
    try:
        found = await _detect(runtime, model, prepare, options, stages, deadline)
        status = 200
        return found
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


async def _detect(
    runtime: Runtime,
    model: ServedModel,
    prepare: Callable[[], Awaitable[PreparedImage]],
    options: Options,
    stages: StageClock,
    deadline: float | None,
) -> Found:
    batcher, metrics = model.batcher, runtime.metrics
    canvases = model.manifest.canvases_by_scale[options.scale]
    with batcher.admit(canvases, options.engine_thresholds(model.manifest), deadline) as admitted:
        stages.enter("decode")
        image, place = await prepare()
        stages.enter("queue")
        answer = await batcher.submit(admitted, image, place.resized, options.chaos)
        stages.enter("inference", at=answer.dispatched_at)
        stages.enter("postprocess")
        found = finish(answer.detections, place, options)
    height, width = place.image_size
    metrics.image_pixels.observe(height * width)
    metrics.scales.labels(str(options.scale)).inc()
    metrics.detections.observe(len(found))
    stages.enter("encode")
    return Found(found, place.image_size)
