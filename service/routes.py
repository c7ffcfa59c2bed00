"""The HTTP surface: /v1, health and metrics."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.answers import answer, wanted_picture
from service.context import context_of
from service.engine.chaos import HEADER, Mark
from service.exchange import Patience, exchange
from service.options import DetectQuery, query_parameters
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
from service.served import ServedModel

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
        **problem_responses(400, 401, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra={**DETECT_BODY, "parameters": query_parameters()},
)
async def detect_route(request: Request) -> Response:
    """Detects in whatever pictures the body holds."""
    runtime, context = _runtime(request), context_of(request.scope)
    runtime.callers.check_key(request)
    query = DetectQuery.parse(request.query_params)
    picture = wanted_picture(request.headers.get("accept"))
    content_type = request.headers.get("content-type")
    chaos = chaos_mark(request, runtime)

    async def answering(model: ServedModel, body: bytes, patience: Patience) -> Response:
        options = replace(query.options(model.manifest), chaos=chaos)
        deadline = patience.deadline
        return await answer(runtime, model, context, content_type, body, options, picture, deadline)

    return await exchange(request, runtime, query.timeout_ms, query.options, answering)


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


def chaos_mark(request: Request, runtime: Runtime) -> Mark | None:
    """What the request wants done to the engine, which only `serve --chaos` listens to."""
    text = request.headers.get(HEADER) if runtime.settings.chaos else None
    return None if text is None else Mark.parse(text)


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime
