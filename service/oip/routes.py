"""The Open Inference Protocol v2 over HTTP, with its binary tensor data extension."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from export.manifest import Manifest
from service.answers import INLINE_BODY_BYTES, server_timing
from service.context import RequestContext, context_of
from service.detections import Options
from service.detector import Found, detect
from service.errors import NotFound, Problem, UnsupportedType
from service.exchange import Patience, exchange
from service.oip.answers import HEADER_LENGTH, infer_response, tensors_of
from service.oip.metadata import model_metadata, server_metadata
from service.oip.tensors import Images, parse_infer
from service.pictures.decoding import in_pool
from service.runtime import Runtime
from service.schemas import problem_responses
from service.served import ServedModel

router = APIRouter(tags=["Open Inference Protocol v2"])

MODEL = "/v2/models/{name}"
VERSION = MODEL + "/versions/{version}"

_TENSORS = {
    "type": "object",
    "description": "Of application/octet-stream, the length of this JSON is told by the header "
    f"{HEADER_LENGTH}; tensors with binary_data_size follow it.",
}

INFER_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _TENSORS},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("/v2", summary="What this server is")
async def server_route() -> Response:
    """Name, version and extensions."""
    return JSONResponse(server_metadata())


@router.get("/v2/health/live", summary="Whether the process answers")
async def live_route() -> Response:
    """Always fine: that this runs is the answer."""
    return JSONResponse({"live": True})


@router.get(
    "/v2/health/ready",
    summary="Whether to send requests here",
    responses=problem_responses(503),
)
async def ready_route(request: Request) -> Response:
    """As /readyz."""
    _runtime(request).check_ready()
    return JSONResponse({"ready": True})


@router.get(VERSION, summary="The model's tensors", responses=problem_responses(404))
@router.get(MODEL, summary="The model's tensors", responses=problem_responses(404))
async def model_route(request: Request, name: str, version: str | None = None) -> Response:
    """The metadata of the model that is served."""
    model = _runtime(request).model
    check_model(model.manifest, name, version)
    return JSONResponse(model_metadata(model.manifest, model.session.engine))


@router.get(
    VERSION + "/ready", summary="Whether the model is ready", responses=problem_responses(404, 503)
)
@router.get(
    MODEL + "/ready", summary="Whether the model is ready", responses=problem_responses(404, 503)
)
async def model_ready_route(request: Request, name: str, version: str | None = None) -> Response:
    """As /readyz, for this model."""
    runtime = _runtime(request)
    check_model(runtime.model.manifest, name, version)
    runtime.check_ready()
    return JSONResponse({"name": name, "ready": True})


_INFER: dict[str, Any] = {
    "summary": "Images in, boxes out, as tensors",
    "responses": problem_responses(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504),
    "openapi_extra": INFER_BODY,
}


@router.post(VERSION + "/infer", **_INFER)
@router.post(MODEL + "/infer", **_INFER)
async def infer_route(request: Request, name: str, version: str | None = None) -> Response:
    """Detects in the images of the input tensor; if one of them fails, all of it does."""
    runtime, context = _runtime(request), context_of(request.scope)
    runtime.callers.check_key(request)
    if coding := request.headers.get("content-encoding"):
        raise UnsupportedType(f"Content-Encoding {coding[:64]!r}: send the body as it is")
    header_length = request.headers.get(HEADER_LENGTH)
    settings = runtime.settings

    def early(manifest: Manifest) -> Options:
        check_model(manifest, name, version)
        return Options.default(manifest)

    async def answering(model: ServedModel, body: bytes, patience: Patience) -> Response:
        check_model(model.manifest, name, version)
        arguments = (body, header_length, settings.max_images, settings.max_image_pixels)
        if len(body) <= INLINE_BODY_BYTES:
            document, images = parse_infer(*arguments)
        else:
            document, images = await in_pool(runtime.decoders, parse_infer, *arguments)
        if document.parameters.timeout is not None:
            patience.allow(document.parameters.timeout / 1e6)
        options = document.parameters.options(model.manifest)
        found = await detect_all(runtime, model, context, images, options, patience.deadline)
        tensors = tensors_of([one.detections for one in found], options.max_detections)
        return infer_response(document, tensors, model.manifest, server_timing(context.stages))

    return await exchange(request, runtime, None, early, answering)


async def detect_all(
    runtime: Runtime,
    model: ServedModel,
    context: RequestContext,
    images: Images,
    options: Options,
    deadline: float | None,
) -> list[Found]:
    """What is found in each image. The first Problem of one is that of all, and names it.

    The request's clock follows the last to finish.
    """
    last = context.stages.fork()

    async def one(number: int) -> Found:
        nonlocal last
        stages = context.stages.fork()
        try:
            return await detect(runtime, model, images[number], options, stages, deadline)
        except Problem as problem:
            if len(images) > 1:
                problem.detail = f"image[{number}]: {problem.detail}"
            raise
        finally:
            last = stages

    context.notes["images"] = len(images)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(len(images))]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        context.stages.adopt(last)
    return [task.result() for task in tasks]


def check_model(manifest: Manifest, name: str, version: str | None) -> None:
    """Raises NotFound unless this is the model that is served."""
    if name != manifest.name or version not in (None, manifest.version):
        asked = name if version is None else f"{name} version {version}"
        raise NotFound(
            f"there is no model {asked[:128]!r}; served is {manifest.name} version "
            f"{manifest.version}"
        )


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime
