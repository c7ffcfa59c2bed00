"""The outermost layer of every request: its id, its last-resort answers, its counts, its log line.

Pure ASGI: BaseHTTPMiddleware would hide the client's disconnect from the routes.
"""

from __future__ import annotations

import json
import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.context import CONTEXT_KEY, RequestContext, request_id
from service.detector import CLIENT_LEFT
from service.errors import MEDIA_TYPE, ClientLeft, InternalError, Problem
from service.metrics import outcome_of, route_of
from service.runtime import Runtime
from service.stages import StageClock

logger = logging.getLogger("service.access")

QUIET_ROUTES = ("/livez", "/readyz", "/metrics")
"""Asked every few seconds by machines: logged at debug level."""


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        context = self._arrived(scope)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = context.id
                if self._runtime.draining:
                    headers["Connection"] = "close"  # the next request shall go elsewhere
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except ClientLeft:
            status = CLIENT_LEFT
        except Exception:
            logger.exception("request %s failed", context.id)
            if not status:
                await problem_response(InternalError(), context)(scope, receive, answer)
            status = 500
        finally:
            # A task cancelled from outside, when the drain took too long, answers nobody either.
            self._ended(context, status or CLIENT_LEFT)

    def _arrived(self, scope: Scope) -> RequestContext:
        headers = Headers(scope=scope)
        context = scope[CONTEXT_KEY] = RequestContext(
            id=request_id(headers.get("x-request-id")),
            method=scope["method"],
            path=scope["path"],
            route=route_of(scope["path"]),
            stages=StageClock(self._runtime.clock),
            traceparent=headers.get("traceparent"),
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
        if context.route == "/v1/detect":
            metrics.observe_stages(context.stages)
        else:
            context.stages.stop()
        level = logging.DEBUG if context.route in QUIET_ROUTES else logging.INFO
        if logger.isEnabledFor(level):
            seconds = sum(context.stages.seconds.values())
            facts = {
                "request_id": context.id,
                "method": context.method,
                "path": context.path,
                "status": status,
                "duration_ms": round(seconds * 1e3, 2),
                **({"traceparent": context.traceparent} if context.traceparent else {}),
                **context.notes,
            }
            logger.log(
                level, "%s %s %d", context.method, context.path, status, extra={"facts": facts}
            )
