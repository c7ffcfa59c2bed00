"""A client's connection: uvicorn's protocol, with bounds on what one may hold and for how long.

Uvicorn waits for ever for a request's head and for a client that does not read its answer, parses
as many pipelined requests as are sent, and is blind to the departure of a client that pipelines.
"""

from __future__ import annotations

import logging
from asyncio import TimerHandle, Transport
from typing import Any

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.connections.connection_limits import ConnectionLimits
from service.connections.heads import MAX_HEAD_BYTES, Head
from service.connections.transport import GentleTransport
from service.connections.unread import CUT_OFF_KEY, REFUSAL_KEY, unread_request
from service.context import CONNECTION_KEY
from service.errors import HeadTooLarge, Malformed, Problem

logger = logging.getLogger(__name__)

HELD_BYTES = 4 * 1024 * 1024
"""What may come in behind a request before its answer. More is dropped, and that answer the last:
not to read on would be not to see the client leave."""
CROWDED_TIMEOUT_S = 1.0
"""What a connection past the limit has for its head."""


class ConnectionConfig(uvicorn.Config):
    """Uvicorn's configuration, with `Connection` as its protocol."""

    def __init__(self, app: ASGIApp, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(app, http=Connection, **options)
        # Not rounded to the whole seconds that the argument asks for.
        self.timeout_keep_alive = limits.keep_alive_s  # type: ignore[assignment]
        self.limits = limits
        self.idle: dict[Connection, None] = {}
        """The connections between two requests, the longest idle first."""


class Connection(HttpToolsProtocol):
    """See the module. A request's scope holds its connection under CONNECTION_KEY."""

    config: ConnectionConfig
    transport: GentleTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle = self.config.idle
        self._limits = self.config.limits
        self._running: RequestResponseCycle | None = None
        """The request being answered; uvicorn's `cycle` is the last that was parsed."""
        self._held = bytearray()
        """What came behind it, not parsed yet."""
        self._head = Head()
        self._in_head = False
        self._head_timer: TimerHandle | None = None
        self._advanced = False
        """Whether the parser has got anywhere with the bytes it was fed last."""
        self._stalled_bytes = 0
        self._crowded = False
        self._full = False
        """Whether more came than is held."""
        self._broken = False
        """Whether what comes can't be read any more."""
        self._problem: Problem | None = None
        """Why it is broken, for as long as the client has not been told."""

    @property
    def crowded(self) -> bool:
        """Whether it is one more than may be."""
        return self._crowded

    @property
    def closes(self) -> bool:
        """Whether the answer under way is the last one."""
        return self._crowded or self._full or self._uploading

    def take_problem(self) -> Problem | None:
        """What was wrong with the body of the request under way; to be answered by the caller.

        Its `receive` gave a disconnect, as ASGI has no message for this.
        """
        if self._problem is None or self._running is None or self.transport.is_closing():
            return None
        self._running.disconnected = False
        problem, self._problem = self._problem, None
        return problem

    # What the transport calls

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Starts the time for the head; makes room or notes that there is none."""
        limits = self._limits
        super().connection_made(
            GentleTransport(transport, self.loop, limits.write_timeout_s, self._is_unread)
        )
        timeout_s = limits.header_timeout_s
        if len(self.connections) > limits.connections:
            if self._idle:
                next(iter(self._idle)).transport.close()
            elif len(self.connections) > 2 * limits.connections:
                self._cut_off(f"{len(self.connections)} connections are open")
                return
            else:
                self._crowded = True
                timeout_s = min(timeout_s, CROWDED_TIMEOUT_S)
        self._head_timer = self.loop.call_later(timeout_s, self._head_is_late, timeout_s)

    def data_received(self, data: bytes) -> None:
        """Parses, or holds what comes behind a request that is being answered."""
        self._unset_keepalive_if_required()
        self._idle.pop(self, None)
        if self._broken or self._full or self.transport.is_closing():
            return
        if self._answering:
            self._hold(data)
        else:
            self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the request being answered, and drops those behind it."""
        self.transport.lost()
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        self._idle.pop(self, None)
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self.transport.watch_writing()

    def resume_writing(self) -> None:
        """The client took most of it."""
        super().resume_writing()
        self.transport.writing_resumed()

    # What the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = self._advanced = True
        self._head = Head()
        self.scope[CONNECTION_KEY] = self  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        self._head.count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or a trailer, which is dropped: it must not pass for a header."""
        self._head.count(len(name) + len(value))
        if self._in_head:
            self._head.header(name, value)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request is handed to the application, or waits behind the one being answered."""
        self._in_head, self._advanced = False, True
        self._stop_head_timer()
        self._head.end(self.parser.get_http_version(), self.parser.should_upgrade())
        super().on_headers_complete()
        if self._running is None:
            self._running = self.cycle

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        super().on_message_complete()
        self.headers = []  # which are not those of what comes next

    # What the request being answered and the server call

    def on_response_complete(self) -> None:
        """Goes on with what has come in meanwhile."""
        self._running = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._held and not self._answering:
            data, self._held = bytes(self._held), bytearray()
            self.data_received(data)
        elif self._running is not None:
            return
        elif self._problem:
            self._tell(self._problem)
        elif self._in_head:
            self._unset_keepalive_if_required()
            self._start_head_timer()
        else:
            self._idle[self] = None

    def shutdown(self) -> None:
        """Closes unless a request is under way, be it only its head."""
        if self._running is not None or not self._in_head:
            super().shutdown()  # else its answer will say that it is the last

    @property
    def _answering(self) -> bool:
        """Whether a request is here as a whole and its answer is not out yet."""
        return self._running is not None and not self._running.more_body

    @property
    def _uploading(self) -> bool:
        """Whether a request is to be answered whose body has not come as a whole."""
        return self._running is not None and self._running.more_body

    def _is_unread(self) -> bool:
        return self._broken or self._full or self._uploading

    def _feed(self, data: bytes) -> None:
        self._advanced = False
        try:
            self.parser.feed_data(data)
            # The parser keeps a header until it ends, and tells nobody.
            self._stalled_bytes = 0 if self._advanced else self._stalled_bytes + len(data)
            if self._stalled_bytes > MAX_HEAD_BYTES:
                self._refuse(HeadTooLarge(MAX_HEAD_BYTES))
                return
        except httptools.HttpParserUpgrade as upgrade:
            # Declined by carrying on in HTTP/1.1; what follows is the next request.
            rest = data[upgrade.args[0] :]
            if rest:
                self._hold(rest)
        except httptools.HttpParserError as error:
            problem = error.__context__  # what a callback raised
            if not isinstance(problem, Problem):
                logger.debug("a request that can't be read", exc_info=True)
                problem = Malformed("the request is not well-formed HTTP/1.1")
            self._refuse(problem)
            return
        if self._running is None:
            self._start_head_timer()  # an empty line between requests starts it too

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES:
            self._full = True
            self._held.clear()
            self.pipeline.clear()

    def _refuse(self, problem: Problem) -> None:
        """Reads no further; the client is told when its earlier requests have been answered."""
        self._broken = True
        self._stop_head_timer()
        if self._running is None:
            self._tell(problem)
            return
        self._problem = problem
        if self._uploading:  # what was wrong is its body
            self._running.disconnected = True
            self._running.message_event.set()
        elif self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()

    def _tell(self, problem: Problem) -> None:
        """Has the application answer where there is no request that it could route."""
        self._running = self.cycle = unread_request(self, {REFUSAL_KEY: problem})
        self._start_asgi_task(self.cycle, self.app)

    def _cut_off(self, reason: str) -> None:
        """Closes at once; the application is told, for its log."""
        self.transport.abort()
        cycle = unread_request(self, {CUT_OFF_KEY: reason})
        cycle.disconnected = True
        self._start_asgi_task(cycle, self.app)

    def _head_is_late(self, timeout_s: float) -> None:
        begun = self._in_head or self._stalled_bytes
        came = "its head did not end" if begun else "nothing came"
        self._cut_off(f"{came} within {timeout_s:g} s")

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            timeout_s = self._limits.header_timeout_s
            self._head_timer = self.loop.call_later(timeout_s, self._head_is_late, timeout_s)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
