"""Uvicorn with our own shutdown: first readiness, then the listener, last what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Literal

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from model.errors import InputError
from service.connections.connection import ConnectionConfig
from service.connections.connection_limits import ConnectionLimits
from service.runtime import Runtime
from service.settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 2048

ENGINE_LOST = 70
"""The exit status when only a new process can serve again (sysexits.h: EX_SOFTWARE)."""

SPARE_FILES = 128
"""Files that are open besides connections: libraries, models, pipes."""

FAILURE_GRACE_S = 10.0
"""How long closing may take once the engine is lost; nobody waits for an answer with boxes."""


def bind(host: str, port: int, option: str = "--port") -> socket.socket:
    """A listening socket at exactly this address; InputError says why there is none.

    `option` is the one that chooses the port.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"the port is in use; choose another with {option}"
        elif error.errno == errno.EACCES:
            reason = "this port needs more rights; choose one from 1024"
        else:
            reason = "this machine has no such address"
        raise InputError(f"cannot listen on {host} port {port}: {reason}") from None


def url_of(listener: socket.socket) -> str:
    """The URL at which a socket listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Drains on SIGTERM and SIGINT and then returns, instead of raising the signal again.

    Uvicorn re-raises what it caught once it has shut down, so that a drained process would still
    end with status 143 or 130; an orchestrator reads that as a failure.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        runtime: Runtime,
        drain_delay_s: float,
        beside: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        super().__init__(config)
        self._beside = beside or contextlib.nullcontext()
        self._runtime = runtime
        self._drain_delay_s = drain_delay_s
        self.status = 0
        """The exit status that the process shall have."""
        runtime.on_failure = self._on_failure

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.serve`."""
        async with self._beside:
            await super().serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles the signals on the event loop while serving."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        """First signal: drain, after a SIGTERM with the delay. Second: at once. Third: give up."""
        name = signal.Signals(number).name
        if self.should_exit:
            logger.warning("%s again: what is in flight is dropped", name)
            self.force_exit = True
        elif self._runtime.draining or number == signal.SIGINT:
            logger.info("%s: closing; what is in flight finishes", name)
            self._runtime.begin_drain()
            self.should_exit = True
        else:
            logger.info("%s: draining; closing in %g s", name, self._drain_delay_s)
            self._runtime.begin_drain()
            asyncio.get_running_loop().call_later(self._drain_delay_s, self._stop)

    def _on_failure(self) -> None:
        """Answers for the drain delay, with 503 as it is, then closes and ends whatever hangs."""
        self.status = ENGINE_LOST
        asyncio.get_running_loop().call_later(self._drain_delay_s, self._stop)
        # Kept by no event loop: should closing hang as well, this ends the process all the same.
        end = threading.Timer(self._drain_delay_s + FAILURE_GRACE_S, os._exit, [ENGINE_LOST])
        end.daemon = True
        end.start()

    def _stop(self) -> None:
        self.should_exit = True


def serve(
    app: FastAPI,
    settings: Settings,
    listener: socket.socket,
    beside: AbstractAsyncContextManager[None] | None = None,
) -> int:
    """Serves until a signal has been obeyed or the engine is lost; the exit status for that.

    `beside` is held meanwhile, on the same event loop.
    """
    logger.debug("settings", extra={"facts": settings.model_dump(mode="json")})
    limits = ConnectionLimits(
        settings.max_connections,
        settings.header_timeout_s,
        settings.keep_alive_s,
        settings.write_timeout_s,
    )
    raise_file_limit(settings.max_connections)
    config = uvicorn_config(
        app, "on", settings.drain_timeout_s, limits, settings.forwarded_allow_ips
    )
    server = Server(config, app.state.runtime, settings.drain_delay_s, beside)
    server.run(sockets=[listener])
    logger.info("stopped")
    return server.status


def raise_file_limit(connections: int) -> None:
    """Lets the process have as many files open as connections may need, as far as it may itself.

    Past this limit accepting fails, and the event loop turns without getting anything done.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        if granted < wanted:
            logger.warning(
                "max_connections is %d, but only %d files may be open: raise ulimit -n to %d",
                connections, hard, wanted,
            )  # fmt: skip


def uvicorn_config(
    app: ASGIApp,
    lifespan: Literal["on", "off"],
    drain_timeout_s: float,
    limits: ConnectionLimits | None = None,
    forwarded_allow_ips: str = "",
) -> uvicorn.Config:
    """How each listener of this process is served."""
    return ConnectionConfig(
        app,
        limits or ConnectionLimits(),
        loop="uvloop",
        ws="none",
        lifespan=lifespan,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(forwarded_allow_ips),
        forwarded_allow_ips=forwarded_allow_ips,
        timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
    )
