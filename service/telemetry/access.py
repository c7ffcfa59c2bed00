"""The log line of each request; under load of some, and a line that counts the others.

A connection that is cut off before it has sent a request has a line too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from service.context import RequestContext
from service.telemetry.metrics import MODEL_ROUTE, outcome_of
from service.telemetry.stages import Clock

logger = logging.getLogger(__name__)

QUIET_ROUTES = (
    "/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", f"{MODEL_ROUTE}/ready",
)  # fmt: skip
"""Asked every few seconds by machines: logged at debug level."""

UNKNOWN = "-"
"""The method and path of what could not be read as a request."""
CUT_OFF = "cut_off"
"""Stands for the status of a connection that was given none."""

MAX_PATH = 256
"""Characters of a path in a line."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls a function so many seconds later."""


def _later(seconds: float, function: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, function)


class AccessLog:
    """Writes at most `lines_per_s` lines a second, besides those of failures: 500 and 504.

    A line costs about as much as everything else that is done for a small request.
    """

    def __init__(self, lines_per_s: int, clock: Clock, later: Later = _later) -> None:
        self._lines_per_s = lines_per_s
        self._clock = clock
        self._later = later
        self._since = clock()
        self._written = 0
        self._left_out: Counter[str] = Counter()

    def write(self, context: RequestContext, status: int) -> None:
        """A line for a request that has ended, its stage clock stopped."""
        level = logging.DEBUG if context.route in QUIET_ROUTES else logging.INFO
        if not logger.isEnabledFor(level):
            return
        if outcome_of(status) not in ("error", "timeout") and not self._has_room(str(status)):
            return
        path = printable(context.path) or UNKNOWN
        logger.log(
            level,
            "%s %s %d",
            context.method,
            path,
            status,
            extra={"facts": facts_of(context, path, status)},
        )

    def write_cut_off(self, client: str | None, reason: str) -> None:
        """A line for a connection that was closed before it had sent a request."""
        if logger.isEnabledFor(logging.INFO) and self._has_room(CUT_OFF):
            logger.info("connection cut off: %s", reason, extra={"facts": {"client": client}})

    def _has_room(self, status: str) -> bool:
        """Whether there may be a line now; what has none is counted by its status."""
        now = self._clock()
        if now - self._since >= 1.0:
            self._since, self._written = now, 0
        self._written += 1
        if self._written <= self._lines_per_s:
            return True
        if not self._left_out:
            self._later(1.0, self._count)
        self._left_out[status] += 1
        return False

    def _count(self) -> None:
        """Says how many requests had no line, by status."""
        by_status = dict(sorted(self._left_out.items()))
        left_out = self._left_out.total()
        self._left_out.clear()
        logger.info("%d more requests", left_out, extra={"facts": {"by_status": by_status}})


def facts_of(context: RequestContext, path: str, status: int) -> dict[str, object]:
    """What a line says of a request; the stages' times add up to the duration."""
    stages = context.stages.seconds
    return {
        "request_id": context.id,
        "method": context.method,
        "path": path,
        "status": status,
        "client": context.client,
        "duration_ms": round(sum(stages.values()) * 1e3, 2),
        **{f"{stage}_ms": round(seconds * 1e3, 2) for stage, seconds in stages.items()},
        **context.notes,
        **context.trace,
    }


def printable(path: str) -> str:
    """A path as it may stand in a line: no line breaks, no escape sequences, no end."""
    path = path[:MAX_PATH]
    return path if path.isprintable() else path.encode("unicode_escape").decode()
