"""One image through the service: decode, queue, inference, postprocess."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple, ParamSpec, TypeVar

from export.engines.session import Detections
from service.detections import Options, finish
from service.errors import Problem
from service.images import prepare_image
from service.metrics import outcome_of
from service.runtime import Runtime
from service.served import ServedModel
from service.stages import StageClock

P = ParamSpec("P")
T = TypeVar("T")

CLIENT_LEFT = 499

TIMER_SLACK_S = 0.01
"""How early a deadline's timer may fire: uvloop counts whole milliseconds on a cached clock."""


class Found(NamedTuple):
    """Detections in image pixels, as the options ask; `image_size` (height, width) once upright."""

    detections: Detections
    image_size: tuple[int, int]


async def detect(
    runtime: Runtime,
    model: ServedModel,
    data: bytes,
    options: Options,
    stages: StageClock,
    deadline: float | None,
) -> Found:
    """What a model detects in one picture, counted by outcome; raises a Problem."""
    status = CLIENT_LEFT
    try:
        found = await _detect(runtime, model, data, options, stages, deadline)
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
    data: bytes,
    options: Options,
    stages: StageClock,
    deadline: float | None,
) -> Found:
    manifest, metrics = model.manifest, runtime.metrics
    with model.batcher.admit():
        stages.enter("decode")
        image, place = await in_pool(
            runtime.decoders,
            prepare_image,
            data,
            options.scale,
            manifest,
            runtime.settings.max_image_pixels,
        )
        stages.enter("queue")
        thresholds = options.engine_thresholds(manifest)
        answer = await model.batcher.submit(image, place.resized, thresholds, deadline)
        stages.enter("inference", at=answer.dispatched_at)
        stages.enter("postprocess")
        found = finish(answer.detections, place, options)
    height, width = place.image_size
    metrics.image_pixels.observe(height * width)
    metrics.scales.labels(str(options.scale)).inc()
    metrics.detections.observe(len(found))
    stages.enter("encode")
    return Found(found, place.image_size)


async def in_pool(pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a function in a pool; when cancelled before a thread took it up, it never runs."""
    return await asyncio.wrap_future(pool.submit(function, *args, **kwargs))
