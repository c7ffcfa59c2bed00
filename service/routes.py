"""The HTTP surface: /v1, health and metrics."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.answers import answer, wanted_picture
from service.bodies import read_body, unless_client_leaves
from service.context import context_of
from service.errors import DeadlinePassed, Unauthorized
from service.options import DetectQuery
from service.runtime import Runtime
from service.schemas import (
    DETECT_BODY,
    DetectResult,
    DetectResults,
    Health,
    ModelDescription,
    Models,
    problem_responses,
)

router = APIRouter()


@router.post(
    "/v1/detect",
    summary="An image in, boxes out",
    description="One picture answers with one result. Several (more than one file field, or "
    "`images`) answer with `results` in order, each a result or `{problem}`. "
    "`Accept: image/png` or `image/jpeg` answers with the picture and its boxes drawn.",
    responses={
        200: {
            "model": DetectResult | DetectResults,
            "content": {"image/png": {}, "image/jpeg": {}},
        },
        **problem_responses(400, 401, 408, 413, 415, 422, 500, 503, 504),
    },
    openapi_extra=DETECT_BODY,
)
async def detect_route(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
    """Detects in whatever pictures the body holds."""
    runtime, context = _runtime(request), context_of(request.scope)
    check_key(request, runtime)
    runtime.model.check_serving()
    runtime.model.batcher.check_room()  # a refusal need not wait for the upload
    query.options(runtime.model.manifest)
    picture = wanted_picture(request.headers.get("accept"))
    async with _within(query.timeout_ms):
        body = await _body(request, runtime)
        deadline = None
        if query.timeout_ms is not None:
            deadline = context.stages.started_at + query.timeout_ms / 1e3
        model = runtime.model  # once, now: it may be another than before the upload
        options = query.options(model.manifest)
        content_type = request.headers.get("content-type")
        answering = answer(runtime, model, context, content_type, body, options, picture, deadline)
        return await unless_client_leaves(request.receive, answering)


@router.get("/v1/models", summary="What is served", response_model=Models)
async def models_route(request: Request) -> Models:
    """The model's facts out of its manifest."""
    served = _runtime(request).model
    manifest, session = served.manifest, served.session
    model = ModelDescription(
        name=manifest.name,
        version=manifest.version,
        classes=manifest.classes,
        scales=list(manifest.scales),
        default_scale=manifest.default_scale,
        canvases=manifest.canvases,
        thresholds=manifest.thresholds,
        engine=session.engine,
        precision=session.precision,
        parity=session.parity,
        metrics=manifest.metrics,
    )
    return Models(models=[model])


@router.get("/livez", summary="Whether the process answers", response_model=Health)
async def livez_route() -> Health:
    """Always fine: that this runs is the answer."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Whether to send requests here",
    response_model=Health,
    responses=problem_responses(503),
)
async def readyz_route(request: Request) -> Health:
    """Fine once every shape has run, until the server begins to shut down."""
    _runtime(request).check_ready()
    return Health(status="ready")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics_route(request: Request) -> Response:
    """The text exposition."""
    metrics = _runtime(request).metrics
    return Response(metrics.render(), headers={"Content-Type": metrics.content_type})


def check_key(request: Request, runtime: Runtime) -> None:
    """Raises Unauthorized unless the request has the API key, where one is set."""
    if runtime.settings.api_key is None:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    wanted = runtime.settings.api_key.get_secret_value()
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Unauthorized


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


@asynccontextmanager
async def _within(timeout_ms: int | None) -> AsyncIterator[None]:
    """Turns `timeout_ms` into DeadlinePassed; what is under way is cancelled."""
    try:
        async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1e3):
            yield
    except TimeoutError:
        raise DeadlinePassed from None


async def _body(request: Request, runtime: Runtime) -> bytes:
    declared = request.headers.get("content-length", "")
    return await read_body(
        request.receive,
        int(declared) if declared.isdecimal() else None,
        runtime.settings.max_body_bytes,
        runtime.settings.body_timeout_s,
    )
