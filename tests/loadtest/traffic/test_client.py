"""What becomes of requests, against servers that do as told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator, Mapping

import pytest

from loadtest.protocols.protocol import Answer, Call, Detection, Malformed
from loadtest.traffic.client import open_client
from loadtest.traffic.loops import closed_loop, open_loop
from loadtest.traffic.pacer import Pacer
from loadtest.traffic.sample import Outcome, Sample, outcome_of
from tests.loadtest.answering import OK, answering, read_request, server, with_body

pytestmark = pytest.mark.anyio


async def sent(url: str, timeout_s: float = 30.0) -> Sample:
    async with open_client(timeout_s) as client:
        return await client.send(Call(url, b"body"), client.now())


async def test_answer_is_read_with_the_servers_own_times() -> None:
    async with server(answering(f"{OK}Content-Length: 2\r\n\r\n{{}}")) as url:
        sample = await sent(url)
    assert (sample.outcome, sample.status, sample.why) == (Outcome.OK, 200, "")
    assert sample.stages == {"queue": 0.5, "inference": 40.0}
    assert sample.intended <= sample.sent <= sample.ended
    assert sample.latency == sample.ended - sample.intended


async def test_answers_are_asked_for_as_they_are() -> None:
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with server(serve) as url:
        await sent(url)
    assert [line for line in heads[0].splitlines() if line.startswith("Accept-Encoding")] == [
        "Accept-Encoding: identity"
    ]


@pytest.mark.parametrize(
    ("text", "outcome", "why"),
    [
        (
            "HTTP/1.1 503 Busy\r\nContent-Type: application/problem+json\r\nContent-Length: 21\r\n"
            '\r\n{"code":"queue_full"}',
            Outcome.REFUSED,
            "503 queue_full",
        ),
        ("HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n", Outcome.LATE, "504"),
        ("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", Outcome.CLIENT_ERROR, "400"),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", Outcome.SERVER_ERROR, "500"),
        ("", Outcome.CONNECTION, "connection closed without an answer"),
        (
            "HTTP/1.1 308 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            Outcome.CLIENT_ERROR,
            "308",
        ),
        (f"{OK}Content-Length: 9\r\n\r\n{{}}", Outcome.CONNECTION, "answer cut short"),
    ],
)
async def test_what_is_no_answer_is_counted_by_its_reason(
    text: str, outcome: Outcome, why: str
) -> None:
    async with server(answering(text)) as url:
        sample = await sent(url)
    assert (sample.outcome, sample.why) == (outcome, why)


async def test_nobody_listening_is_a_connection_refused() -> None:
    async with server(answering("")) as url:
        pass
    sample = await sent(url)
    assert (sample.outcome, sample.why) == (Outcome.CONNECTION, "connection refused")


async def test_a_connection_that_is_reset_is_told_from_one_that_is_closed() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        # To close with no time to linger sends RST.
        option = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.get_extra_info("socket").setsockopt(*option)
        writer.transport.abort()

    async with server(reset) as url:
        sample = await sent(url)
    assert (sample.outcome, sample.why) == (Outcome.CONNECTION, "connection reset")


async def test_a_host_that_does_not_exist_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    sample = await sent("http://no-such-host.invalid/")
    assert (sample.outcome, sample.why) == (Outcome.CONNECTION, "no such host")


class Reading:
    """Reads an answer of one word as so many detections."""

    name, servers = "reading", ("one", "two")

    def read(self, call: Call, headers: Mapping[str, str], body: bytes) -> Answer:
        if not body.isdigit():
            raise Malformed("no number")
        rows = [Detection((0.0, 0.0, 1.0, 1.0), "RBC", 0.5)] * int(body)
        return Answer(rows, {"queue": 1.5}, batch=3)


async def test_what_the_protocol_reads_is_in_the_sample() -> None:
    async with server(with_body(OK, "2")) as url, open_client(30.0, Reading()) as client:
        sample, answer, said = await client.ask(Call(url, b"", server=1), client.now())
    assert (sample.outcome, sample.detections, sample.stages) == (Outcome.OK, 2, {"queue": 1.5})
    assert (sample.batch, sample.server, said) == (3, 1, "")
    assert answer is not None
    assert len(answer.detections) == 2


async def test_what_the_protocol_can_not_read_is_malformed() -> None:
    async with server(with_body(OK, "two")) as url, open_client(30.0, Reading()) as client:
        sample, answer, _ = await client.ask(Call(url, b""), client.now())
    assert (sample.outcome, sample.status, sample.why) == (Outcome.MALFORMED, 200, "no number")
    assert answer is None


async def test_reading_is_no_part_of_what_is_measured() -> None:
    ended: list[float] = []

    class Late(Reading):
        def read(self, call: Call, headers: Mapping[str, str], body: bytes) -> Answer:
            ended.append(client.now())
            return Answer()

    async with server(with_body(OK, "2")) as url, open_client(30.0, Late()) as client:
        sample = await client.send(Call(url, b""), client.now())
    assert sample.ended < ended[0]


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        ("HTTP/1.1 400 No\r\n", '{"code": "malformed", "detail": "scale is 7"}', "scale is 7"),
        ("HTTP/1.1 400 No\r\n", '{"error": "no such model"}', "no such model"),
        ("HTTP/1.1 400 No\r\n", "[1]", ""),
        ("HTTP/1.1 400 No\r\n", "<html>", ""),
        ("HTTP/1.1 301 Go\r\nLocation: /new\r\n", "", "it is at /new"),
    ],
)
async def test_of_a_refusal_the_servers_own_words_are_kept(head: str, body: str, said: str) -> None:
    async with server(with_body(head, body)) as url, open_client(30.0) as client:
        reply = await client.ask(Call(url, b""), client.now())
    assert (reply.said, reply.answer) == (said, None)


async def test_an_answer_that_does_not_come_is_late() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with server(silent) as url:
        sample = await sent(url, timeout_s=0.05)
    assert (sample.outcome, sample.why) == (Outcome.LATE, "no answer in time")


async def test_open_loop_charges_a_stall_to_all_who_come_meanwhile() -> None:
    """A closed loop of one caller would see one slow answer; the other callers wait as well."""
    release = asyncio.Event()
    come = 0

    async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal come
        while True:
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                break
            come += 1
            if come == 5:
                release.set()
            await release.wait()
            writer.write(f"{OK}Content-Length: 2\r\n\r\n{{}}".encode())
            await writer.drain()
        writer.close()

    async with server(stalling) as url, open_client(30.0) as client:
        times = [0.0, 0.02, 0.04, 0.06, 0.2]
        samples = await open_loop(client, times, lambda _: Call(url, b""))
    starts = [sample.intended - samples[0].intended for sample in samples]
    assert starts == pytest.approx(times)
    # All are answered when the last has come.
    assert samples[0].latency > 0.2 > samples[3].latency > 0.14


async def test_closed_loop_has_as_many_calls_under_way_as_callers() -> None:
    under_way = most = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        while True:
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                break
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            writer.write(f"{OK}Content-Length: 2\r\n\r\n{{}}".encode())
        writer.close()

    told: list[Sample] = []
    async with server(counting) as url, open_client(30.0) as client:
        samples = await closed_loop(client, 3, 0.2, lambda _: Call(url, b""), told.append)
    assert most <= 3
    assert len(samples) == len(told) > 3
    assert {sample.outcome for sample in samples} == {Outcome.OK}


async def test_pacer_calls_everything_in_order_also_what_is_late() -> None:
    called: list[tuple[int, float]] = []
    await Pacer([0.0, -1.0, 0.001], lambda: 0.5, lambda n, t: called.append((n, t))).run()
    assert called == [(0, 0.0), (1, -1.0), (2, 0.001)]


async def test_pacer_raises_what_making_the_times_raises() -> None:
    def times() -> Iterator[float]:
        raise ValueError("no times")
        yield 0.0

    with pytest.raises(ValueError, match="no times"):
        await Pacer(times(), lambda: 0.0, lambda n, t: None).run()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (299, Outcome.OK),
        (304, Outcome.CLIENT_ERROR),
        (404, Outcome.CLIENT_ERROR),
        (408, Outcome.CLIENT_ERROR),
        (429, Outcome.REFUSED),
        (503, Outcome.REFUSED),
        (504, Outcome.LATE),
        (502, Outcome.SERVER_ERROR),
    ],
)
def test_status_stands_for_an_outcome(status: int, outcome: Outcome) -> None:
    assert outcome_of(status) is outcome
