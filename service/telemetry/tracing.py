"""OpenTelemetry, where its variables name a place for traces; else nothing of it is loaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from service.telemetry.spans import Tracing

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

REQUEST_SPAN: ContextVar[SpanContext | None] = ContextVar("retinaserve_request_span", default=None)
"""The span of the request whose task this is; what it queues keeps it for the batch's links."""


def open_tracing(environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """What makes spans; None unless OTEL_EXPORTER_OTLP_ENDPOINT is set (or ..._TRACES_ENDPOINT).

    OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none switch it off all the same. The SDK reads
    the other OTEL_* variables itself.
    """
    off = (
        environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if off or not any(environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from service.telemetry.spans import Tracing, exporting_provider
    except ImportError:
        # The variables may be set for all of a cluster: no reason not to serve.
        logger.warning("no traces: install retinaserve[otel] to send them")
        return None
    return Tracing(exporting_provider())
