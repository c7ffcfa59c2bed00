"""The ASGI application of one server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response

from export.engines.session import Session
from service.console.routes import console_router
from service.context import context_of
from service.engine.engine import Engine
from service.errors import InternalError, Malformed, MethodNotAllowed, NotFound, Problem
from service.middleware import RequestLayer, problem_response
from service.oip.routes import router as oip_router
from service.routes import router
from service.runtime import Runtime
from service.schemas import ProblemDocument
from service.settings import Settings
from service.telemetry.stages import Clock


def create_app(
    settings: Settings,
    session: Session,
    *,
    clock: Clock = time.monotonic,
    engine: Engine | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The application around a session; `app.state.runtime` holds its parts.

    `engine` replaces the thread that runs the session; `on_ready` is called once, after warm-up.
    """
    runtime = Runtime(settings, session, clock, engine, on_ready)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with runtime.running():
            yield

    app = FastAPI(
        title="retinaserve",
        summary="Object detection; /v1/models says with which model",
        # Not by include_router(), whose routers within the router cost every request a tenth.
        routes=[*router.routes, *oip_router.routes, *console_router().routes],
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # the console has a page of its own: FastAPI's loads from other hosts
        redoc_url=None,
    )
    app.state.runtime = runtime
    app.add_middleware(RequestLayer, runtime=runtime)
    answer_problems(app)
    _describe_problems(app)
    return app


def answer_problems(app: Starlette, instead: str = "see /docs") -> None:
    """Has an application answer what goes wrong as RFC 9457 says.

    `instead`: what to tell who asks for a path that is not there.
    """
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, partial(_answer_http_exception, instead=instead))


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, context_of(request.scope))


async def _answer_http_exception(request: Request, error: Exception, *, instead: str) -> Response:
    """Starlette's own 404 and 405."""
    assert isinstance(error, HTTPException)
    problem: Problem
    match error.status_code:
        case 404:
            problem = NotFound(f"there is nothing at this path; {instead}")
        case 405:
            problem = MethodNotAllowed(request.method, (error.headers or {}).get("Allow", ""))
        case status if status < 500:
            problem = Malformed("the request is malformed")
        case _:
            problem = InternalError()
    return problem_response(problem, context_of(request.scope))


def _describe_problems(app: FastAPI) -> None:
    """Adds the problem document, which only error responses refer to, to the OpenAPI schemas."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for operation in (op for path in document["paths"].values() for op in path.values()):
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]  # FastAPI's own, which is a 400 here
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]
