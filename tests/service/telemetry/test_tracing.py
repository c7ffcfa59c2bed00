from __future__ import annotations

import asyncio
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from service.telemetry.spans import Tracing, exporting_provider
from service.telemetry.tracing import ENDPOINTS, open_tracing
from tests.service.fakes import HeldEngine, picture

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
PNG = picture()
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter(monkeypatch):
    """What the server's spans go to."""
    exporter = InMemorySpanExporter()

    def tracing() -> Tracing:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return Tracing(provider)

    monkeypatch.setattr("service.runtime.open_tracing", tracing)
    return exporter


def named(exporter, name):
    return [span for span in exporter.get_finished_spans() if span.name == name]


async def test_a_request_span_continues_the_callers_trace(serving, exporter):
    async with serving() as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        await client.post("/v1/detect", content=PNG, headers=headers)
        await client.post("/v1/detect", content=b"hello")
        await client.get("/readyz")
    one, two = named(exporter, "POST /v1/detect")
    assert f"{one.context.trace_id:032x}" == TRACE
    assert f"{one.parent.span_id:016x}" == PARENT
    assert one.attributes["http.response.status_code"] == 200
    assert (one.attributes["retinaserve.images"], one.attributes["retinaserve.detections"]) == (
        1,
        3,
    )
    assert two.parent is None
    assert two.context.trace_id != one.context.trace_id
    assert two.attributes["http.response.status_code"] == 415
    assert two.attributes["retinaserve.code"] == "unsupported_type"
    assert two.status.status_code is StatusCode.UNSET
    assert not named(exporter, "GET /readyz")


async def test_the_stages_are_its_children_end_to_end(serving, exporter):
    async with serving() as client:
        await client.post("/v1/detect", content=PNG)
    (request,) = named(exporter, "POST /v1/detect")
    stages = [
        span
        for span in exporter.get_finished_spans()
        if span.parent and span.parent.span_id == request.context.span_id
    ]
    names = ["read", "decode", "queue", "inference", "postprocess", "encode"]
    assert [span.name for span in stages] == names
    for before, after in pairwise(stages):
        assert before.end_time == after.start_time
    assert abs(stages[-1].end_time - request.end_time) < 10  # ns, of rounding


async def test_a_batch_is_linked_to_the_requests_it_is_for(serving, exporter):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine) as client:
        engine.hold = True
        first = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await engine.begun.wait()
        files = [("a", PNG), ("b", PNG)]
        several = asyncio.ensure_future(client.post("/v1/detect", files=files))
        batcher = client._transport.app.state.runtime.model.batcher
        while batcher.queued < 2:  # noqa: ASYNC110 - a decode thread sets no event
            await asyncio.sleep(0.001)
        engine.release_all()
        await asyncio.gather(first, several)
    alone, both = named(exporter, "batch")  # none for the warm-up, which no request is behind
    requests = {span.context.span_id for span in named(exporter, "POST /v1/detect")}
    assert alone.attributes["retinaserve.batch_size"] == 1
    assert dict(both.attributes) == {"retinaserve.batch_size": 2, "retinaserve.canvas": "128x160"}
    (link_alone,), (link_both,) = alone.links, both.links
    assert {link_alone.context.span_id, link_both.context.span_id} == requests
    assert alone.parent is both.parent is None


async def test_a_failure_marks_its_span(serving, exporter, monkeypatch):
    async def broken(*args, **kwargs):
        raise RuntimeError

    monkeypatch.setattr("service.routes.answer", broken)
    async with serving() as client:
        await client.post("/v1/detect", content=PNG)
    (request,) = named(exporter, "POST /v1/detect")
    assert request.status.status_code is StatusCode.ERROR


async def test_what_the_caller_does_not_sample_makes_no_spans(serving, exporter):
    async with serving() as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        answer = await client.post("/v1/detect", content=PNG, headers=headers)
    assert answer.status_code == 200
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({ENDPOINTS[0]: "http://127.0.0.1:1"}, True),
        ({ENDPOINTS[1]: "http://127.0.0.1:1"}, True),
        ({ENDPOINTS[1]: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINTS[1]: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_switch_it_on(environ, on):
    tracing = open_tracing(environ)
    assert (tracing is not None) is on
    if tracing:
        tracing.close()


def test_the_service_has_a_name_unless_a_variable_gives_one(monkeypatch):
    for given, name in ((None, "retinaserve"), ("mine", "mine")):
        if given:
            monkeypatch.setenv("OTEL_SERVICE_NAME", given)
        provider = exporting_provider()
        assert provider.resource.attributes["service.name"] == name
        provider.shutdown()


def test_without_the_variables_nothing_of_it_is_loaded():
    code = (
        "import sys; from service.app import create_app; from service.settings import Settings\n"
        "from tests.service.fakes import FakeSession\n"
        "app = create_app(Settings(), FakeSession())\n"
        "assert app.state.runtime.tracing is None\n"
        # FastAPI itself loads the API, where it is installed.
        "sys.exit('service.telemetry.spans' in sys.modules or 'opentelemetry.sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_where_it_is_not_installed_the_server_serves_without(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "service.telemetry.spans", None)
    assert open_tracing({ENDPOINTS[0]: "http://127.0.0.1:1"}) is None
    assert caplog.messages == ["no traces: install retinaserve[otel] to send them"]
