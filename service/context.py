"""What is known of the request at hand: its id, route and stage clock."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from service.telemetry.stages import StageClock

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
"""W3C Trace Context, 3.2: version, trace id, parent id, flags; later versions may add to it."""
CONTEXT_KEY = "retinaserve"
"""Where the ASGI scope holds the context."""
CONNECTION_KEY = "retinaserve.connection"
"""Where it holds the client's connection, if it came over one of ours."""


@dataclass
class RequestContext:
    """One request, from arrival to answer."""

    id: str
    method: str
    path: str
    route: str
    stages: StageClock
    client: str | None = None
    """The caller's address."""
    trace: dict[str, str] = field(default_factory=dict)
    """The ids of the trace that the caller's `traceparent` says."""
    notes: dict[str, Any] = field(default_factory=dict)
    """More for the log line: a problem's code, how many images there were."""


def context_of(scope: Scope) -> RequestContext:
    """The context that the outermost layer put into this scope."""
    context: RequestContext = scope[CONTEXT_KEY]
    return context


def request_id(given: str | None) -> str:
    """The caller's id if it is one that can stand in logs and headers, else a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def trace_of(traceparent: str | None) -> dict[str, str]:
    """The ids in a `traceparent` header; none if it is not one."""
    match = TRACEPARENT.fullmatch(traceparent or "")
    if match is None or not (int(match[1], 16) and int(match[2], 16)):
        return {}
    return {"trace_id": match[1], "parent_id": match[2]}
