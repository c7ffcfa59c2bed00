"""Uvicorn with our own shutdown: first readiness, then the listener, last what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from model.errors import InputError
from service.runtime import Runtime
from service.settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A listening socket at exactly this address; InputError says why there is none."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "the port is in use; choose another with --port"
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

    def __init__(self, config: uvicorn.Config, runtime: Runtime, drain_delay_s: float) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._drain_delay_s = drain_delay_s

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

    def _stop(self) -> None:
        self.should_exit = True


def serve(app: FastAPI, settings: Settings, listener: socket.socket) -> None:
    """Serves until a signal has been obeyed."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
    )
    Server(config, app.state.runtime, settings.drain_delay_s).run(sockets=[listener])
    logger.info("stopped")
