from __future__ import annotations

import json
import logging

import pytest

from service.context import RequestContext
from service.telemetry.access import AccessLog
from service.telemetry.stages import StageClock
from tests.service.fakes import picture


class Time:
    """A clock and the calls that are due, both by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, object]] = []

    def clock(self) -> float:
        return self.now

    def later(self, seconds, function):
        self.due.append((self.now + seconds, function))

    def pass_to(self, now):
        self.now = now
        due, self.due = [f for t, f in self.due if t <= now], [x for x in self.due if x[0] > now]
        for function in due:
            function()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def log(time):
    return AccessLog(2, time.clock, time.later)


def request(time: Time, path: str = "/v1/detect", **given) -> RequestContext:
    stages = StageClock(time.clock)
    time.now += 0.25
    stages.enter("decode")
    stages.stop()
    return RequestContext("id", "POST", path, path, stages, **given)


def lines(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_line_says_what_became_of_a_request_and_where_its_time_went(caplog, log, time):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    context = request(time, client="192.0.2.7", trace={"trace_id": "t"})
    context.notes["code"] = "malformed"
    log.write(context, 400)
    assert lines(caplog) == ["POST /v1/detect 400"]
    assert caplog.records[0].facts == {
        "request_id": "id",
        "method": "POST",
        "path": "/v1/detect",
        "status": 400,
        "client": "192.0.2.7",
        "duration_ms": 250.0,
        "read_ms": 250.0,
        "decode_ms": 0.0,
        "code": "malformed",
        "trace_id": "t",
    }


def test_under_load_the_rest_is_counted_in_a_line_of_its_own(caplog, log, time):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    context = request(time)
    for status in (200, 200, 200, 503, 503):
        log.write(context, status)
    assert len(caplog.records) == 2
    time.pass_to(time.now + 1.0)
    assert lines(caplog)[2:] == ["3 more requests"]
    assert caplog.records[2].facts == {"by_status": {"200": 1, "503": 2}}
    log.write(context, 200)
    assert lines(caplog)[3:] == ["POST /v1/detect 200"]
    time.pass_to(time.now + 9.0)
    assert len(caplog.records) == 4


def test_connections_cut_off_share_the_lines_of_requests(caplog, log, time):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    log.write(request(time), 200)
    for _ in range(3):
        log.write_cut_off("192.0.2.7", "nothing came within 10 s")
    log.write(request(time), 200)
    assert lines(caplog) == [
        "POST /v1/detect 200",
        "connection cut off: nothing came within 10 s",
    ]
    assert caplog.records[1].facts == {"client": "192.0.2.7"}
    time.pass_to(time.now + 1.0)
    assert caplog.records[2].facts == {"by_status": {"200": 1, "cut_off": 2}}


def test_what_could_not_be_read_has_a_line_without_method_and_path(caplog, log, time):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    unread = request(time, "")
    unread.method = "-"
    log.write(unread, 400)
    assert lines(caplog) == ["- - 400"]


@pytest.mark.parametrize("status", [500, 504])
def test_a_failure_has_a_line_always(caplog, log, time, status):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    context = request(time)
    for _ in range(5):
        log.write(context, status)
    assert len(caplog.records) == 5
    log.write(context, 200)
    assert len(caplog.records) == 6


def test_probes_are_logged_at_debug_level_and_take_no_line_from_requests(caplog, log, time):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    for _ in range(5):
        log.write(request(time, "/readyz"), 200)
    log.write(request(time), 200)
    assert lines(caplog) == ["POST /v1/detect 200"]


def test_a_path_can_not_make_a_line_of_its_own(caplog, log, time):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    log.write(request(time, "/\n2026 ERROR \x1b[31mfake"), 404)
    log.write(request(time, "/" + 1000 * "a"), 404)
    assert lines(caplog)[0] == r"POST /\n2026 ERROR \x1b[31mfake 404"
    assert lines(caplog)[1] == "POST /" + 255 * "a" + " 404"


@pytest.mark.anyio
async def test_a_detect_request_says_images_detections_stages_and_its_trace(caplog, serving):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serving() as client:
        files = [("a", picture()), ("b", picture(32, 32))]
        for given in ({"content": picture()}, {"files": files}):
            await client.post("/v1/detect", headers={"traceparent": parent}, **given)
    one, two = (json.loads(json.dumps(record.facts)) for record in caplog.records)
    assert (one["images"], one["detections"]) == (1, 3)
    assert (two["images"], two["detections"]) == (2, 6)
    assert one["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert one["parent_id"] == "b7ad6b7169203331"
    stages = ("read", "decode", "queue", "inference", "postprocess", "encode")
    total = sum(one[f"{stage}_ms"] for stage in stages)
    assert total == pytest.approx(one["duration_ms"], abs=0.05)  # each rounded to .01


@pytest.mark.anyio
@pytest.mark.parametrize(
    "parent",
    ["", "junk", f"00-{'0' * 32}-{'b' * 16}-01", f"ff-{'a' * 32}-{'b' * 16}-01", "00-a\n-b-01"],
)
async def test_what_is_no_traceparent_leaves_no_trace(caplog, serving, parent):
    caplog.set_level(logging.INFO, "service.telemetry.access")
    async with serving() as client:
        await client.post("/v1/detect", content=b"", headers={"traceparent": parent.encode()})
    (record,) = caplog.records
    assert "trace_id" not in record.facts
