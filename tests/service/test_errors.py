"""Every error that a client can meet: its status, code and detail."""

from __future__ import annotations

import asyncio
import re

import pytest

import service.errors
from service.connections.connection_limits import ConnectionLimits
from service.errors import Problem
from service.telemetry.metrics import OUTCOMES, outcome_of
from tests.service.fakes import HeldEngine, picture
from tests.service.sockets import listening, post

pytestmark = pytest.mark.anyio

PNG = picture()


def problems(base: type[Problem] = Problem) -> list[type[Problem]]:
    return [base, *(found for child in base.__subclasses__() for found in problems(child))]


def test_the_tree_of_errors_is_complete():
    assert service.errors.__doc__ is not None
    drawn = re.findall(r"[├└]── (\w+) +(\d+)(?: +(\w+))?", service.errors.__doc__)
    made = {
        (error.__name__, str(error.status), error.code)
        for error in problems()
        if error is not Problem and error.__module__ == "service.errors"
    }
    abstract = {("Unavailable", "503", "unavailable")}
    assert {tuple(row) for row in drawn if row[2]} == made - abstract


def test_every_code_means_one_thing():
    codes = [error.code for error in problems()[1:] if error.__module__ == "service.errors"]
    assert len(set(codes)) == len(codes)
    assert {outcome_of(error.status) for error in problems()} < set(OUTCOMES)


DETAILS = [
    ("GET", "/nope", b"", 404, "not_found", "there is nothing at this path; see /docs"),
    ("PUT", "/v1/detect", b"", 405, "method_not_allowed",
     "PUT is not accepted here; accepted: POST"),
    ("POST", "/v1/models", b"", 405, "method_not_allowed",
     "POST is not accepted here; accepted: GET, HEAD"),
    ("POST", "/v1/detect?scale=7", PNG, 400, "malformed",
     "scale is 7; accepted are this bundle's: 64, 128"),
    ("POST", "/v1/detect?scale=abc", PNG, 400, "malformed",
     "scale is 'abc': accepted are whole numbers, one of the bundle's scales, see /v1/models"),
    ("POST", "/v1/detect?timeout_ms=0", PNG, 400, "malformed",
     "timeout_ms is '0': accepted are whole numbers from 1 to 60000"),
    ("POST", "/v1/detect?classes=x", PNG, 400, "malformed", "classes: 'x' is not one; "),
    ("POST", "/v1/detect?x=1", PNG, 400, "malformed", "unknown query parameter 'x'; accepted "),
    ("POST", "/v1/detect", b"", 400, "malformed", "the body is empty"),
    ("POST", "/v1/detect", bytes(5000), 413, "too_large",
     "the body is larger than the 4,096 bytes that are accepted"),
    ("POST", "/v1/detect", b"hello", 415, "unsupported_type",
     "the content is no picture type taken here: send JPEG, PNG, WebP, "),
    ("POST", "/v1/detect", PNG[:100], 422, "undecodable", "the "),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "detail"), DETAILS)
async def test_what_a_request_did_wrong_is_said(serving, method, path, body, status, code, detail):
    async with serving(max_body_bytes=4096) as client:
        answer = await client.request(method, path, content=body)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (status, code)
    assert told["detail"].startswith(detail)
    assert told["instance"] == path.partition("?")[0]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_is_too_large_by_what_comes_if_it_does_not_say(serving):
    async def chunks():
        for _ in range(5):
            yield bytes(1000)

    async with serving(max_body_bytes=4096) as client:
        answer = await client.post("/v1/detect", content=chunks())
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_body_too_slow_is_408_and_holds_no_place_in_the_queue():
    engine = HeldEngine()
    async with listening(engine, body_timeout_s=0.05, queue_limit=1) as server:
        slow, quick = await server.connect(), await server.connect()
        slow.send(b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
        quick.send(post(PNG))
        await engine.begun.wait()
        answer = await slow.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert b'"the body made too little progress within 0.05 s"' in answer.body
        assert await slow.rest() == b""
        engine.release_all()
        assert (await quick.answer()).status == 200


async def test_bodies_hold_no_more_bytes_together_than_they_may():
    half = bytes(15_000)
    async with listening(max_body_bytes=20_000, max_upload_bytes=20_000) as server:
        uploads = server.app.state.runtime.uploads
        first, second = await server.connect(), await server.connect()
        first.send(post(half + half)[:-15_000].replace(b"30000", b"15001"))
        while uploads.held < 15_000:  # noqa: ASYNC110 - bytes that arrive set no event
            await asyncio.sleep(0.005)
        second.send(post(half))
        answer = await second.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert b'"uploads_full"' in answer.body
        first.leave()
        while uploads.held:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        third = await server.connect()
        third.send(post(half))
        assert (await third.answer()).status == 415
        assert uploads.held == 0


async def test_a_full_queue_refuses_an_upload_before_it_begins():
    engine = HeldEngine()
    async with listening(engine, ConnectionLimits(), queue_limit=1) as server:
        running, waiting, third = [await server.connect() for _ in range(3)]
        running.send(post(PNG))
        await engine.begun.wait()
        waiting.send(post(PNG))
        while server.app.state.runtime.model.batcher.queued < 1:  # noqa: ASYNC110 - by a thread
            await asyncio.sleep(0.005)
        third.send(post(b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 500"))
        answer = await third.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert b'"queue_full"' in answer.body
        assert b"1 images wait already, which is the limit" in answer.body
        engine.release_all()
        assert [(await one.answer()).status for one in (running, waiting)] == [200, 200]


async def test_what_is_in_flight_when_the_drain_has_lasted_too_long_is_told():
    engine = HeldEngine()
    async with listening(engine, drain_timeout_s=1.0) as server:
        server.server.config.timeout_graceful_shutdown = 0
        client = await server.connect()
        client.send(post(PNG))
        await engine.begun.wait()
        server.app.state.runtime.begin_drain()
        server.server.should_exit = True
        answer = await client.answer()
        assert answer.status == 503
        assert b'"draining"' in answer.body
        engine.release_all()
