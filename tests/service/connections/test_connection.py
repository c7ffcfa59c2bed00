"""Clients that are slow, greedy, wrong or gone, on real sockets and the event loop that serves."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from service.connections.connection import HELD_BYTES
from service.connections.connection_limits import ConnectionLimits
from service.connections.heads import MAX_HEAD_BYTES
from tests.service.fakes import HeldEngine, picture
from tests.service.sockets import get, listening, post

pytestmark = pytest.mark.anyio

PNG = picture()
SOON_S = 0.05
NEVER_S = 1000.0
ACCESS = "service.telemetry.access"


@pytest.fixture
def anyio_backend():
    return "asyncio", {"use_uvloop": True}


def limits(**given: float) -> ConnectionLimits:
    """Limits that nobody meets but by those given."""
    never = {"header_timeout_s": NEVER_S, "keep_alive_s": NEVER_S, "write_timeout_s": NEVER_S}
    return ConnectionLimits(**(never | given))


@pytest.fixture
def access(caplog):
    """Says what the access log has by now."""
    caplog.set_level(logging.INFO, ACCESS)
    return lambda: [record for record in caplog.records if record.name == ACCESS]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "nothing came within 0.05 s"),
        (b"\r\n", "its head did not end within 0.05 s"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: ", "its head did not end within 0.05 s"),
    ],
)
async def test_a_head_that_does_not_come_closes_the_connection(sent, reason, access):
    async with listening(limits=limits(header_timeout_s=SOON_S)) as server:
        client = await server.connect()
        client.send(sent)
        assert await client.rest() == b""
        assert server.connections == 0
        while server.server.server_state.tasks:  # noqa: ASYNC110 - what writes the line
            await asyncio.sleep(0.005)
        assert 'route="other"' not in server.app.state.runtime.metrics.render().decode()
    (record,) = access()
    assert record.getMessage() == f"connection cut off: {reason}"
    assert record.facts == {"client": "127.0.0.1"}


async def test_empty_lines_between_requests_hold_no_connection():
    async with listening(limits=limits(header_timeout_s=SOON_S)) as server:
        client = await server.connect()
        client.send(get("/livez"))
        assert (await client.answer()).status == 200
        client.send(b"\r\n")
        assert await client.rest() == b""


async def test_an_idle_connection_is_kept_for_a_time_of_its_own():
    async with listening(limits=limits(header_timeout_s=SOON_S)) as server:
        idle, silent = await server.connect(), await server.connect()
        idle.send(get("/livez"))
        assert (await idle.answer()).status == 200
        assert await silent.rest() == b""  # the time for a head has passed
        idle.send(get("/livez"))
        assert (await idle.answer()).status == 200
    async with listening(limits=limits(keep_alive_s=SOON_S)) as server:
        idle = await server.connect()
        idle.send(get("/livez"))
        assert (await idle.answer()).status == 200
        assert await idle.rest() == b""


async def test_the_time_for_a_head_begins_when_the_server_can_read_it():
    engine = HeldEngine()
    async with listening(engine, limits(header_timeout_s=SOON_S)) as server:
        client = await server.connect()
        client.send(post(PNG), b"GET /livez HTTP/1.1\r\n")
        await engine.begun.wait()
        silent = await server.connect()
        assert await silent.rest() == b""
        engine.release_all()
        assert (await client.answer()).status == 200
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "requests", [[get("/openapi.json", "Connection: close")], 40 * [get("/openapi.json")]]
)
async def test_a_client_that_does_not_read_is_dropped(requests):
    async with listening(limits=limits(write_timeout_s=SOON_S), send_buffer=4096) as server:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()
        client.send(*requests)
        await server.have_connections(1)
        await server.have_connections(0)


async def test_a_client_that_reads_slowly_gets_the_whole_of_its_answer():
    async with listening(limits=limits(write_timeout_s=NEVER_S), send_buffer=4096) as server:
        client = await server.connect(receive_buffer=4096)
        client.send(40 * get("/openapi.json"))
        answers = [await client.answer() for _ in range(40)]
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1


async def test_past_the_limit_detect_is_refused_and_health_is_answered(access):
    engine = HeldEngine()
    async with listening(engine, limits(connections=2)) as server:
        busy = [await server.connect() for _ in range(2)]
        for client in busy:
            client.send(post(PNG))
        await engine.begun.wait()
        await server.have_connections(2)
        third, fourth = await server.connect(), await server.connect()
        await server.have_connections(4)
        fifth = await server.connect()
        assert await fifth.rest() == b""
        third.send(post(PNG))
        refused = await third.answer()
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert refused.headers["retry-after"] == "1"
        assert json.loads(refused.body)["code"] == "too_many_connections"
        fourth.send(get("/livez"))
        alive = await fourth.answer()
        assert (alive.status, alive.headers["connection"]) == (200, "close")
        engine.release_all()
        assert [(await client.answer()).status for client in busy] == [200, 200]
        assert server.outcome("rejected") == 1
    lines = [record.getMessage() for record in access()]
    assert lines.count("connection cut off: 5 connections are open") == 1


async def test_a_new_client_takes_the_place_of_the_longest_idle_one():
    async with listening(limits=limits(connections=2)) as server:
        first, second = await server.connect(), await server.connect()
        for client in (first, second, first):
            client.send(get("/livez"))
            assert (await client.answer()).status == 200
        third = await server.connect()
        third.send(get("/v1/models"))
        assert (await third.answer()).status == 200
        assert await second.rest() == b""
        first.send(get("/livez"))
        assert (await first.answer()).status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + MAX_HEAD_BYTES * b"a" + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        get("/livez", "A: " + MAX_HEAD_BYTES * "a"),
        get("/livez", *(f"A{number}: {'a' * 100}" for number in range(400))),
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: " + 10 * MAX_HEAD_BYTES * b"a",
    ],
    ids=["path", "value", "many", "endless"],
)
async def test_a_head_too_large_is_431(head):
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(head)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert answer.headers["content-type"] == "application/problem+json"
        problem = json.loads(answer.body)
        assert problem["code"] == "head_too_large"
        assert problem["detail"] == "the headers are larger than the 32,768 bytes that are accepted"


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /livez HTTP/1.1\r\nX-Request-ID: mine\r\n\r\n", 400, "malformed"),
        (b"GET /livez HTTP/1.1\r\nX-Request-ID: mine\r\nA: b\r\nC : d\r\n\r\n", 400, "malformed"),
        (get("/", "X-Request-ID: mine", "A: " + MAX_HEAD_BYTES * "a"), 431, "head_too_large"),
        (get("/", "X-Request-ID: mine", "A: b", "B: ")[:-4] + 10 * MAX_HEAD_BYTES * b"a",
         431, "head_too_large"),
    ],
)  # fmt: skip
async def test_a_refusal_of_a_head_is_counted_logged_and_says_the_callers_id(
    head, status, code, access
):
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(head)
        answer = await client.answer()
        assert answer.status == status
        assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"] == "mine"
        assert await client.rest() == b""
        assert server.count('retinaserve_requests_received_total{route="other"}') == 1
        assert server.outcome("client_error", "other") == 1
    (record,) = access()
    assert record.getMessage() == f"- - {status}"
    told = {name: record.facts[name] for name in ("request_id", "client", "status", "code")}
    assert told == {"request_id": "mine", "client": "127.0.0.1", "status": status, "code": code}


@pytest.mark.parametrize(
    ("wrong", "status"),
    [(b"GET /livez HTTP/1.1\r\n\r\n", 400), (10 * MAX_HEAD_BYTES * b"\r\n", 431)],
    ids=["head", "empty lines"],
)
async def test_a_refusal_has_an_id_of_its_own_not_that_of_the_request_before(wrong, status):
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(get("/livez", "X-Request-ID: first"))
        assert (await client.answer()).headers["x-request-id"] == "first"
        client.send(wrong)
        answer = await client.answer()
        assert answer.status == status
        assert len(answer.headers["x-request-id"]) == 32
        assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"]


async def test_who_was_refused_is_not_cut_off_as_well(access):
    async with listening(limits=limits(header_timeout_s=SOON_S)) as server:
        client = await server.connect()
        client.send(b"GET /livez HTTP/1.1\r\nA : b\r\n\r\n")
        assert (await client.answer()).status == 400
        silent = await server.connect()
        assert await silent.rest() == b""  # the time for a head has passed
    lines = [record.getMessage() for record in access()]
    assert lines == ["- - 400", "connection cut off: nothing came within 0.05 s"]


async def test_a_refusal_behind_an_upload_says_the_id_of_the_request_refused():
    async with listening(limits=limits()) as server:
        client = await server.connect()
        upload = post(PNG, "X-Request-ID: first")
        client.send(upload[:-1])
        while not server.count(RECEIVED):  # noqa: ASYNC110 - bytes that arrive set no event
            await asyncio.sleep(0.005)
        client.send(upload[-1:], CHUNKED, b"X-Request-ID: second\r\n\r\n", b"zz\r\n")
        answers = [await client.answer() for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 400]
        assert [answer.headers["x-request-id"] for answer in answers] == ["first", "second"]
        assert server.outcome("client_error", "other") == 1


CHUNKED = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
RECEIVED = 'retinaserve_requests_received_total{route="/v1/detect"}'
SMUGGLED = get("/v1/models")


@pytest.mark.parametrize(
    "request_",
    [
        CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 3\r\n\r\nabc",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"GET /livez HTTP/1.1\nHost: x\n\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)  # fmt: skip
async def test_what_two_servers_could_read_differently_is_400_and_the_end(request_):
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(request_, SMUGGLED)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert json.loads(answer.body)["code"] == "malformed"
        assert await client.rest() == b""
        assert 'route="/v1/models"' not in server.app.state.runtime.metrics.render().decode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"zz\r\nabc\r\n", 400),
        (b"3\r\nabcd\r\n", 400),
        (b"3\r\nabc\r\n0\r\nA: " + MAX_HEAD_BYTES * b"a" + b"\r\n\r\n", 431),
    ],
)
async def test_a_body_whose_chunks_are_wrong_is_answered_by_its_request(body, status):
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(CHUNKED, b"X-Request-ID: mine\r\n\r\n", body, SMUGGLED)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"] == "mine"
        assert await client.rest() == b""
        assert server.outcome("client_error") == 1


async def test_a_trailer_does_not_pass_for_a_header():
    async with listening(limits=limits(), api_key="s3cret") as server:
        client = await server.connect()
        client.send(CHUNKED, b"\r\n3\r\nabc\r\n0\r\nX-API-Key: s3cret\r\n\r\n")
        assert (await client.answer()).status == 401


async def test_pipelined_requests_are_answered_in_order():
    widths = [32, 64, 96, 128, 48]
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(*(post(picture(width, 64)) for width in widths), b"NONSENSE\r\n\r\n")
        answers = [await client.answer() for _ in widths]
        assert [json.loads(answer.body)["image"]["width"] for answer in answers] == widths
        last = await client.answer()
        assert (last.status, last.headers["connection"]) == (400, "close")
        assert await client.rest() == b""


async def test_pipelined_requests_that_come_byte_by_byte_are_answered_in_order():
    async with listening(limits=limits()) as server:
        client = await server.connect()
        for byte in get("/livez") + get("/nope") + get("/livez"):
            client.send(bytes([byte]))
            await client.writer.drain()
        assert [(await client.answer()).status for _ in range(3)] == [200, 404, 200]


async def test_a_client_that_pipelines_too_much_is_told_to_come_again():
    engine = HeldEngine()
    async with listening(engine, limits()) as server:
        client = await server.connect()
        client.send(post(PNG), post(2 * HELD_BYTES * b"a"))
        await engine.begun.wait()
        (connection,) = server.server.server_state.connections
        while not connection.closes:  # noqa: ASYNC110 - bytes that arrive set no event
            await asyncio.sleep(0.005)
        engine.release_all()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""


ENDLESS = 10 * MAX_HEAD_BYTES * b"a"


@pytest.mark.parametrize("body", [b"1;" + ENDLESS, b"0\r\nA: " + ENDLESS], ids=["chunk", "trailer"])
async def test_a_body_that_is_all_framing_is_431(body):
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(CHUNKED, b"\r\n", body)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (431, "close")


@pytest.mark.parametrize("padding", [0, HELD_BYTES], ids=["held", "dropped"])
async def test_a_client_that_pipelines_and_leaves_costs_one_run_at_most(padding):
    engine = HeldEngine()
    # What comes after the end of a PNG is no part of it.
    body = PNG + bytes(padding)
    async with listening(engine, limits()) as server:
        client = await server.connect()
        client.send(*12 * [post(body)])
        await engine.begun.wait()
        await client.sent()
        client.leave()
        await server.have_connections(0)
        engine.release_all()
        following = await server.connect()
        following.send(post(PNG))
        assert (await following.answer()).status == 200
        assert len(engine.batches) == 2
        assert (server.outcome("cancelled"), server.outcome("ok")) == (1, 1)


REFUSED = {"X-API-Key: s3cret": (413, "too_large"), "X-API-Key: wrong": (401, "unauthorized")}


@pytest.mark.parametrize("key", REFUSED)
async def test_a_refusal_arrives_though_the_upload_goes_on(key):
    async with listening(limits=limits(), api_key="s3cret", max_body_bytes=10_000) as server:
        client = await server.connect()
        # A client that sends all before it reads: a connection that is reset loses the answer.
        client.writer.transport.pause_reading()
        client.send(b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n")
        client.send(key.encode(), b"\r\n\r\n")
        client.send(bytes(10_000_000))
        await client.sent()
        client.writer.transport.resume_reading()
        answer = await client.answer()
        assert answer.headers["connection"] == "close"
        assert (answer.status, json.loads(answer.body)["code"]) == REFUSED[key]
        client.send(get("/livez"))
        assert await client.rest() == b""


@pytest.mark.parametrize("key", REFUSED)
async def test_a_client_that_asks_first_is_refused_before_the_upload(key):
    async with listening(limits=limits(), api_key="s3cret", max_body_bytes=10_000) as server:
        client = await server.connect()
        client.send(b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n")
        client.send(key.encode(), b"\r\nExpect: 100-continue\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, json.loads(answer.body)["code"]) == REFUSED[key]
        assert await client.rest() == b""


async def test_a_client_that_asks_first_is_told_to_go_on():
    async with listening(limits=limits()) as server:
        client = await server.connect()
        head = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PNG)}\r\n"
        client.send(head.encode(), b"Expect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 100
        client.send(PNG)
        answer = await client.answer()
        assert answer.status == 200
        assert "connection" not in answer.headers


async def test_a_refusal_of_a_whole_request_keeps_the_connection():
    async with listening(limits=limits(), api_key="s3cret") as server:
        client = await server.connect()
        client.send(post(PNG))
        assert (await client.answer()).status == 401
        client.send(post(PNG, "X-API-Key: s3cret"))
        assert (await client.answer()).status == 200


async def test_http_1_0_is_answered_and_closed():
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(b"GET /livez HTTP/1.0\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""


async def test_an_upgrade_is_declined_by_carrying_on():
    async with listening(limits=limits()) as server:
        client = await server.connect()
        upgrade = get("/livez", "Connection: Upgrade", "Upgrade: websocket")
        client.send(upgrade, get("/nope"))
        assert [(await client.answer()).status for _ in range(2)] == [200, 404]


async def test_methods_that_a_path_does_not_have_are_405_with_allow():
    async with listening(limits=limits()) as server:
        client = await server.connect()
        for method, path, allow in (
            ("OPTIONS", "/v1/detect", "POST"),
            ("HEAD", "/v1/detect", "POST"),
            ("DELETE", "/livez", "GET, HEAD"),
        ):
            client.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = await client.answer(method)
            assert (answer.status, answer.headers["allow"]) == (405, allow.lower())


async def test_head_answers_as_get_without_the_body():
    async with listening(limits=limits()) as server:
        client = await server.connect()
        client.send(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n", get("/livez"))
        head, whole = await client.answer("HEAD"), await client.answer()
        assert head.status == whole.status == 200
        assert head.headers["content-length"] == str(len(whole.body))
