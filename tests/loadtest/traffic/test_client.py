"""What becomes of requests, against servers that do as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from loadtest.traffic.client import Call, open_client, stages_of
from loadtest.traffic.loops import closed_loop, open_loop
from loadtest.traffic.pacer import Pacer
from loadtest.traffic.sample import Outcome, Sample, outcome_of

pytestmark = pytest.mark.anyio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The body of a request that says how long it is."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return await reader.readexactly(int(value))
    return b""


def answering(text: str) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(text.encode())
        await writer.drain()
        writer.close()

    return serve


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    finally:
        listening.close()


async def sent(url: str, timeout_s: float = 30.0) -> Sample:
    async with open_client(timeout_s) as client:
        return await client.send(Call(url, b"body"), client.now())


OK = "HTTP/1.1 200 OK\r\nServer-Timing: queue;dur=0.5, inference;dur=40\r\n"


async def test_answer_is_read_with_the_servers_own_times() -> None:
    async with server(answering(f"{OK}Content-Length: 2\r\n\r\n{{}}")) as url:
        sample = await sent(url)
    assert (sample.outcome, sample.status, sample.why) == (Outcome.OK, 200, "")
    assert sample.stages == {"queue": 0.5, "inference": 40.0}
    assert sample.intended <= sample.sent <= sample.ended
    assert sample.latency == sample.ended - sample.intended


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
        ("", Outcome.CONNECTION, "connection closed by the server"),
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


def test_server_timing_is_read_leniently() -> None:
    assert stages_of("") == {}
    assert stages_of('miss, db;dur=53, app;desc="x";dur=47.2, bad;dur=soon') == {
        "db": 53.0,
        "app": 47.2,
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (304, Outcome.OK),
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
