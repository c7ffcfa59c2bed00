"""The spans: a request with its stages, and a batch with links to its requests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.context import RequestContext
from service.scheduling.schedule import Entry
from service.telemetry.tracing import REQUEST_SPAN

NS = 1e9


def exporting_provider() -> TracerProvider:
    """What sends spans by OTLP over HTTP, as the OTEL_* variables say."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "retinaserve"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Makes spans with a provider, whose end is `close`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("retinaserve")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, context: RequestContext, headers: Mapping[str, str]) -> Iterator[Span]:
        """A span for a request, which continues the caller's trace; ended by `ended`."""
        span = self._tracer.start_span(
            f"{context.method} {context.route}",
            self._propagator.extract(headers),
            SpanKind.SERVER,
            {
                "http.request.method": context.method,
                "http.route": context.route,
                "retinaserve.request_id": context.id,
            },
        )
        token = REQUEST_SPAN.set(span.get_span_context())
        try:
            yield span
        finally:
            REQUEST_SPAN.reset(token)
            if span.is_recording():
                span.end()

    def ended(self, span: Span, context: RequestContext, status: int) -> None:
        """Ends a request's span, and makes those of its stages out of its stopped clock."""
        now = time.time_ns()
        if span.is_recording():
            span.set_attribute("http.response.status_code", status)
            for name, value in context.notes.items():
                span.set_attribute(f"retinaserve.{name}", value)
            if status >= 500:
                span.set_status(StatusCode.ERROR)
            inside = set_span_in_context(span)
            # The stages follow each other without gaps and end with the request.
            at = now - round(sum(context.stages.seconds.values()) * NS)
            for stage, seconds in context.stages.seconds.items():
                child = self._tracer.start_span(stage, inside, start_time=at)
                at += round(seconds * NS)
                child.end(at)
        span.end(now)

    @contextmanager
    def batch(self, entries: Sequence[Entry]) -> Iterator[None]:
        """A span for a run of the engine, linked to the requests that it is for."""
        requests: dict[int, SpanContext] = {
            entry.request_span.span_id: entry.request_span
            for entry in entries
            if entry.request_span is not None and entry.request_span.trace_flags.sampled
        }
        if not requests:
            yield
            return
        with self._tracer.start_as_current_span(
            "batch",
            attributes={
                "retinaserve.batch_size": len(entries),
                "retinaserve.canvas": str(entries[0].key.canvas),
            },
            links=[Link(request) for request in requests.values()],
        ):
            yield

    def close(self) -> None:
        """Sends what has not been sent; may take as long as the exporter's timeout."""
        self._provider.shutdown()
