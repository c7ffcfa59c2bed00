"""The outermost layer of every request: its id, its last-resort answers, its counts, its log line.

Pure ASGI: BaseHTTPMiddleware would hide the client's disconnect from the routes.
"""

from __future__ import annotations

import asyncio
import json
import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.connections.connection import Connection
from service.connections.unread import CUT_OFF_KEY, REFUSAL_KEY
from service.context import CONNECTION_KEY, CONTEXT_KEY, RequestContext, request_id, trace_of
from service.detector import CLIENT_LEFT
from service.errors import (
    MEDIA_TYPE,
    ClientLeft,
    Draining,
    InternalError,
    Problem,
    TooManyConnections,
)
from service.runtime import Runtime
from service.telemetry.access import QUIET_ROUTES, AccessLog
from service.telemetry.metrics import IMAGE_ROUTES, outcome_of, route_of
from service.telemetry.stages import StageClock

logger = logging.getLogger(__name__)


def problem_response(problem: Problem, context: RequestContext) -> Response:
    """The answer that a problem is."""
    context.notes["code"] = problem.code
    body = json.dumps(problem.body(context.path, context.id))
    return Response(body, problem.status, problem.headers, MEDIA_TYPE)


class RequestLayer:
    """Wraps the application; see the module."""

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime
        self._log = AccessLog(runtime.settings.log_lines_per_s, runtime.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if reason := scope.get(CUT_OFF_KEY):
            self._log.write_cut_off(_client_of(scope), reason)
            return
        context = self._arrived(scope)
        tracing = self._runtime.tracing
        if tracing is None or context.route in QUIET_ROUTES:
            await self._serve(context, scope, receive, send)
            return
        with tracing.request(context, Headers(scope=scope)) as span:
            status = await self._serve(context, scope, receive, send)
            tracing.ended(span, context, status)

    async def _serve(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> int:
        """Answers; the status, or that of a client that left."""
        if context.method == "HEAD":
            # What GET would answer; uvicorn, which has the scope as it was, leaves out the body.
            scope = {**scope, "method": "GET"}
        connection: Connection | None = scope.get(CONNECTION_KEY)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = context.id
                if self._runtime.draining or (connection and connection.closes):
                    headers["Connection"] = "close"  # the next request shall go elsewhere
            await send(message)

        async def tell(problem: Problem) -> None:
            await problem_response(problem, context)(scope, receive, answer)

        try:
            if refusal := scope.get(REFUSAL_KEY):
                await tell(refusal)
            elif connection and connection.crowded and context.route not in QUIET_ROUTES:
                await tell(TooManyConnections())
            else:
                await self._app(scope, receive, answer)
        except ClientLeft:
            problem_of_body = connection.take_problem() if connection else None
            if problem_of_body:
                await tell(problem_of_body)
            else:
                status = CLIENT_LEFT
        except asyncio.CancelledError:
            # From outside: the drain took longer than it may.
            if not self._runtime.draining:
                raise
            if not status:
                await tell(Draining())
        except Exception:
            logger.exception("request %s failed", context.id)
            if not status:
                await tell(InternalError())
            status = 500
        finally:
            self._ended(context, status or CLIENT_LEFT)
        return status or CLIENT_LEFT

    def _arrived(self, scope: Scope) -> RequestContext:
        headers = Headers(scope=scope)
        context = scope[CONTEXT_KEY] = RequestContext(
            id=request_id(headers.get("x-request-id")),
            method=scope["method"],
            path=scope["path"],
            route=route_of(scope["path"]),
            stages=StageClock(self._runtime.clock),
            client=_client_of(scope),
            trace=trace_of(headers.get("traceparent")),
        )
        if context.route != "/metrics":
            self._runtime.metrics.received.labels(context.route).inc()
        return context

    def _ended(self, context: RequestContext, status: int) -> None:
        metrics = self._runtime.metrics
        if context.route == "/metrics":
            # Counted when over: a scrape would always find itself in flight.
            metrics.received.labels(context.route).inc()
        metrics.requests.labels(context.route, outcome_of(status)).inc()
        if context.route in IMAGE_ROUTES:
            metrics.observe_stages(context.stages)
        else:
            context.stages.stop()
        self._log.write(context, status)


def _client_of(scope: Scope) -> str | None:
    """The caller's address, where there is one."""
    client = scope.get("client")
    return client[0] if client else None
