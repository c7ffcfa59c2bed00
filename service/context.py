"""What is known of the request at hand: its id, route and stage clock."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from service.stages import StageClock

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
CONTEXT_KEY = "retinaserve"
"""Where the ASGI scope holds the context."""


@dataclass
class RequestContext:
    """One request, from arrival to answer."""

    id: str
    method: str
    path: str
    route: str
    stages: StageClock
    traceparent: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """More for the log line: a problem's code, how many images there were."""


def context_of(scope: Scope) -> RequestContext:
    """The context that the outermost layer put into this scope."""
    context: RequestContext = scope[CONTEXT_KEY]
    return context


def request_id(given: str | None) -> str:
    """The caller's id if it is one that can stand in logs and headers, else a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
