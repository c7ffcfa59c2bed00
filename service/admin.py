"""What an operator may ask of a running server: a listener of its own, and SIGHUP."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.app import answer_problems
from service.connections.bodies import read_body
from service.errors import Malformed
from service.middleware import RequestLayer
from service.reload import Reloaded, Reloader
from service.runtime import Runtime
from service.server import bind, url_of, uvicorn_config
from service.settings import Settings

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
GRACE_S = 1.0
"""How long an answer may take to go out when the server ends, a reload being given up by then."""


def create_admin_app(runtime: Runtime, reloader: Reloader) -> Starlette:
    """POST /admin/reload, with the same layer, problems, key and counts as the other routes."""

    async def reload_route(request: Request) -> Response:
        runtime.callers.check_key(request)
        # A page in a browser may post text or a form to any local port without asking, JSON not.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Malformed("the body must be sent as application/json")
        timeout_s = runtime.settings.body_timeout_s
        body = await read_body(request.receive, None, MAX_BODY_BYTES, timeout_s)
        return JSONResponse(_document(await reloader.reload(_path_in(body))))

    app = Starlette(routes=[Route("/admin/reload", reload_route, methods=["POST"])])
    app.add_middleware(RequestLayer, runtime=runtime)
    answer_problems(
        app, instead="here is POST /admin/reload alone; health and metrics are on the main port"
    )
    return app


@contextmanager
def admin_socket(settings: Settings) -> Iterator[socket.socket | None]:
    """The listening socket of the admin port; None where it is off. InputError if it can't be."""
    if settings.admin_port is None:
        yield None
    else:
        with bind(settings.admin_host, settings.admin_port, "--admin-port") as listener:
            yield listener


@asynccontextmanager
async def administered(
    runtime: Runtime, reloader: Reloader, listener: socket.socket | None
) -> AsyncIterator[None]:
    """Obeys SIGHUP, and the admin port where there is one, until left."""
    loop = asyncio.get_running_loop()
    # Not by the loop, which would leave none at the end: then SIGHUP kills the process.
    before = signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(reloader.on_hangup))
    try:
        if listener is None:
            yield
        else:
            async with _listening(create_admin_app(runtime, reloader), listener, reloader):
                yield
    finally:
        await reloader.close()
        signal.signal(signal.SIGHUP, before)


class _Server(uvicorn.Server):
    """A second server of the process: the signals are the first one's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _listening(
    app: Starlette, listener: socket.socket, reloader: Reloader
) -> AsyncIterator[None]:
    server = _Server(uvicorn_config(app, "off", GRACE_S))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    logger.info("admin port: %s", url_of(listener))
    try:
        yield
    finally:
        await reloader.close()  # else its caller would be waited for
        server.should_exit = True
        await serving


def _path_in(body: bytes) -> Path:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    match document:
        case {"bundle": str(path), **rest} if path and path.isprintable() and not rest:
            return Path(path)
    raise Malformed('the body must be {"bundle": "PATH"}: a folder where the server runs')


def _document(reloaded: Reloaded) -> dict[str, Any]:
    session, old, new = reloaded.model.session, reloaded.before, reloaded.model.manifest
    return {
        "model": {"name": new.name, "version": new.version},
        "replaced": {"name": old.name, "version": old.version},
        "engine": session.engine,
        "precision": session.precision,
        "parity": reloaded.parity,
        "seconds": round(reloaded.seconds, 3),
    }
