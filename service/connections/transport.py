"""A transport that closes so that what was written still arrives, but not for ever."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Callable
from typing import Any

from service.connections.bodies import MIN_PROGRESS_BYTES

LINGER_S = 2.0
"""How long the rest of a refused upload is read and dropped, so that the refusal arrives: closing
at once would have TCP reset the connection, and with it what the client has not read yet."""


class GentleTransport(Transport):
    """What uvicorn sees of a transport.

    `unread` says at the time of closing whether more may come in from the client. A client that
    takes too little of what was written within each `write_timeout_s` is cut off.
    """

    def __init__(
        self,
        transport: Transport,
        loop: AbstractEventLoop,
        write_timeout_s: float,
        unread: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._write_timeout_s = write_timeout_s
        self._unread = unread
        self._closing = False
        self._timer: TimerHandle | None = None
        # Called for every message: without a step in between.
        self.write = transport.write  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]
        self.abort = transport.abort  # type: ignore[method-assign]

    def close(self) -> None:
        """Closes once all is written; while more may come in, that is read first, for a while."""
        if self._closing:
            return
        self._closing = True
        if self._unread():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._start(LINGER_S, self._transport.abort)
        else:
            self._transport.close()
            self.watch_writing()

    def is_closing(self) -> bool:
        """Whether nothing more shall be sent."""
        return self._closing or self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport.get_extra_info`."""
        return self._transport.get_extra_info(name, default)

    def watch_writing(self) -> None:
        """Has the client take some of what waits for it within the timeout, again and again."""
        before = self._transport.get_write_buffer_size()

        def check() -> None:
            if before - self._transport.get_write_buffer_size() < MIN_PROGRESS_BYTES:
                self._transport.abort()
            else:
                self.watch_writing()

        self._start(self._write_timeout_s, check)

    def writing_resumed(self) -> None:
        """The client has taken most; the rest has time until the connection closes."""
        if not self._closing:
            self._stop()

    def lost(self) -> None:
        """The connection is no more."""
        self._closing = True
        self._stop()

    def _start(self, seconds: float, function: Callable[[], None]) -> None:
        self._stop()
        self._timer = self._loop.call_later(seconds, function)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
