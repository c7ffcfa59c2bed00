"""The answer of a detect request: JSON for one picture or several, or the picture drawn on."""

from __future__ import annotations

import asyncio
import io
from typing import Any, Literal

import orjson
from PIL import Image
from starlette.responses import Response

from export.engines.session import Detections
from service.context import RequestContext
from service.detections import Options, result_of
from service.detector import detect
from service.errors import Malformed, Problem
from service.payloads import is_picture, pictures_of
from service.pictures.decoding import in_pool
from service.pictures.drawing import draw_detections
from service.runtime import Runtime
from service.served import ServedModel
from service.telemetry.stages import StageClock

PictureType = Literal["png", "jpeg"]

INLINE_BODY_BYTES = 64 * 1024
"""Up to here a wrapped body is taken apart on the event loop: a hop to a thread costs more."""


def wanted_picture(accept: str | None) -> PictureType | None:
    """The picture type that an Accept header prefers to JSON; None for JSON, as without header."""
    best: tuple[float, PictureType | None] = (0.0, None)
    for part in (accept or "").split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        kinds: dict[str, PictureType | None] = {"image/png": "png", "image/jpeg": "jpeg"}
        if media in ("application/json", "application/*", "*/*"):
            kinds[media] = None
        if media in kinds and weight > best[0]:
            best = (weight, kinds[media])
    return best[1]


async def answer(
    runtime: Runtime,
    model: ServedModel,
    context: RequestContext,
    content_type: str | None,
    body: bytes,
    options: Options,
    picture: PictureType | None,
    deadline: float | None,
) -> Response:
    """The response to a body that has been read. Raises a Problem if its one picture does."""
    max_images = runtime.settings.max_images
    if len(body) <= INLINE_BODY_BYTES or is_picture(content_type):
        pictures = pictures_of(content_type, body, max_images)
    else:
        pictures = await in_pool(runtime.decoders, pictures_of, content_type, body, max_images)
    context.notes["images"] = len(pictures)
    if len(pictures) > 1:
        if picture:
            raise Malformed("Accept asks for a picture, which answers one image, not several")
        results = await _several(runtime, model, context, pictures, options, deadline)
        return _json({"results": results}, context.stages)
    found, size = await detect(runtime, model, pictures[0], options, context.stages, deadline)
    context.notes["detections"] = len(found)
    if picture is None:
        timings = context.stages.timings_ms()
        return _json(result_of(found, size, options, model.manifest, timings), context.stages)

    # Decoded once more rather than kept: a queue full of decoded pictures has no bound.
    def draw(image: Image.Image) -> bytes:
        return _drawn(image, found, model.manifest.classes, picture)

    drawn = await runtime.decoding.use_upright(pictures[0], draw)
    return Response(drawn, 200, server_timing(context.stages), f"image/{picture}")


async def _several(
    runtime: Runtime,
    model: ServedModel,
    context: RequestContext,
    pictures: list[bytes],
    options: Options,
    deadline: float | None,
) -> list[dict[str, Any]]:
    """The result or problem of each picture; the request's clock follows the last to finish."""
    last = context.stages.fork()

    async def one(data: bytes) -> dict[str, Any]:
        nonlocal last
        stages = context.stages.fork()
        try:
            found, size = await detect(runtime, model, data, options, stages, deadline)
            context.notes["detections"] = context.notes.get("detections", 0) + len(found)
            return result_of(found, size, options, model.manifest, stages.timings_ms())
        except Problem as problem:
            return {"problem": problem.body(context.path, context.id)}
        finally:
            last = stages

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(data)) for data in pictures]
    context.stages.adopt(last)
    return [task.result() for task in tasks]


def _json(document: dict[str, Any], stages: StageClock) -> Response:
    return Response(orjson.dumps(document), 200, server_timing(stages), "application/json")


def server_timing(stages: StageClock) -> dict[str, str]:
    """The header that says the stages' times, and how many images shared the engine's run."""
    parts = {stage: f"{stage};dur={ms:g}" for stage, ms in stages.timings_ms().items()}
    if stages.batch_size is not None:
        parts["inference"] += f';desc="batch of {stages.batch_size}"'
    return {"Server-Timing": ", ".join(parts.values())}


def _drawn(image: Image.Image, found: Detections, labels: list[str], kind: PictureType) -> bytes:
    drawn = draw_detections(image, found, labels)
    out = io.BytesIO()
    drawn.save(out, kind.upper(), quality=90)
    return out.getvalue()
