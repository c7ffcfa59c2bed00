"""What signals do while a server starts and ends; while it serves, its event loop has them."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Has SIGTERM end the process with status 0 while it starts, when there is nothing to finish.

    The kernel ignores it for PID 1, as one is in a container, unless there is a handler.
    """

    def end(*_: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def outlives_sighup() -> Iterator[None]:
    """Has SIGHUP do nothing but write a log line, until `service.admin.administered` obeys it.

    Without a handler it ends the process. Left, it is ignored for good: the process is to end, and
    Python's own end would drop a handler before the process is gone.
    """

    def tell(*_: object) -> None:
        logger.warning("SIGHUP: nothing is reloaded: the server is starting or ending")

    signal.signal(signal.SIGHUP, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
