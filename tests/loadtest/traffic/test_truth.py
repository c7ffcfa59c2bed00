"""The load test tells the truth: known queues give the figures that theory has for them, a stall
is charged to all who met it, and no request is lost from the accounts."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat

import numpy as np
import pytest

from loadtest.protocols.post import Post
from loadtest.protocols.protocol import Call, Picture
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.confidence import Interval
from loadtest.traffic.doubts import doubts_of
from loadtest.traffic.loops import closed_loop, open_loop
from loadtest.traffic.run import Runner
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.summary import Summary, summary_of
from loadtest.traffic.trial import Load, Trial
from tests.loadtest.answering import Serve, answering, read_request, server
from tests.loadtest.traffic import queue_server
from tests.loadtest.traffic.virtual import Queue, exponential, in_virtual_time

PICTURES = [Picture(b"picture", "a.jpg", (1, 1))]

BUSY = 0.7
"""Of the worker's time."""


def open_run(
    service: Callable[[], Iterator[float]], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> Summary:
    """Poisson arrivals at a queue with a mean service time of 1 s, in virtual time."""

    async def main() -> list[Sample]:
        times = arrivals(BUSY, seconds, "poisson", seed=5)
        return await open_loop(Queue(service()), times, lambda _: Call("", b""))

    samples = in_virtual_time(main, monkeypatch)
    begun = samples[len(samples) // 100 :]  # the queue has found its length by then
    return summary_of(Trial(Load(BUSY, seconds=seconds), begun, 0.0))


def mm1_quantile_s(p: float) -> float:
    """Of the time in an M/M/1 queue, which is exponential."""
    return -math.log(1.0 - p) / (1.0 - BUSY)


def md1_quantile_s(p: float) -> float:
    """Of the time in an M/D/1 queue: Erlang's formula for the wait, 1909, plus the service."""

    def share_waiting(at_most: float) -> float:
        return (1.0 - BUSY) * sum(
            (BUSY * (k - at_most)) ** k / math.factorial(k) * math.exp(-BUSY * (k - at_most))
            for k in range(math.floor(at_most) + 1)
        )

    low, high = 0.0, 30.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if share_waiting(middle) < p else (low, middle)
    return 1.0 + low


MM1_MEAN_S = 1.0 / (1.0 - BUSY)
MD1_MEAN_S = 1.0 + BUSY / (2.0 * (1.0 - BUSY))  # Pollaczek and Khinchine


def test_queues_of_theory_are_known() -> None:
    assert MM1_MEAN_S == pytest.approx(3.333, abs=1e-3)
    assert MD1_MEAN_S == pytest.approx(2.167, abs=1e-3)
    assert mm1_quantile_s(0.99) == pytest.approx(15.351, abs=1e-3)
    # 4 million customers by Lindley's recursion: 7.490.
    assert md1_quantile_s(0.99) == pytest.approx(7.485, abs=1e-3)


@pytest.mark.parametrize(
    ("service", "mean_s", "quantile_s"),
    [
        (lambda: repeat(1.0), MD1_MEAN_S, md1_quantile_s),
        (lambda: exponential(1.0, seed=8), MM1_MEAN_S, mm1_quantile_s),
    ],
    ids=["M/D/1", "M/M/1"],
)
def test_queue_gives_what_theory_says_within_its_own_interval(
    service: Callable[[], Iterator[float]],
    mean_s: float,
    quantile_s: Callable[[float], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary = open_run(service, 20_000.0, monkeypatch)
    assert summary.mean_ms is not None
    assert inside(1e3 * mean_s, summary.mean_ms)
    for percent in (50.0, 90.0, 99.0):
        assert inside(1e3 * quantile_s(percent / 100), summary.percentiles_ms[percent]), percent


def inside(value: float, interval: Interval) -> bool:
    return interval.low <= value <= interval.high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "mean_s", "p99_s"),
    [
        (lambda: repeat(1.0), MD1_MEAN_S, md1_quantile_s(0.99)),
        (lambda: exponential(1.0, seed=8), MM1_MEAN_S, mm1_quantile_s(0.99)),
    ],
    ids=["M/D/1", "M/M/1"],
)
def test_long_run_is_within_5_percent_of_theory(
    service: Callable[[], Iterator[float]],
    mean_s: float,
    p99_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary = open_run(service, 500_000.0, monkeypatch)
    assert summary.mean_ms is not None
    assert summary.mean_ms.value == pytest.approx(1e3 * mean_s, rel=0.05)
    assert summary.percentiles_ms[99.0].value == pytest.approx(1e3 * p99_s, rel=0.05)


@contextmanager
def serving_queue(kind: str, mean_s: float) -> Iterator[str]:
    """A server process with one worker."""
    command = [sys.executable, queue_server.__file__, kind, str(mean_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["constant", "exponential"])
def test_over_http_every_request_takes_what_the_queue_made_it_take(kind: str) -> None:
    """Arrivals and service times are known, so each latency is, by Lindley's recursion: what is
    left is what HTTP and the client add. Within 5 %, as theory's figures have to be."""
    mean_s, load = 0.02, Load(BUSY / 0.02, seconds=30.0, warm_up_s=0.0, seed=3)
    with serving_queue(kind, mean_s) as url:
        trial = asyncio.run(Runner(Post([url]), PICTURES).run(load))
    if doubts := [doubt for doubt in doubts_of("load", [trial]) if "load test" in doubt]:
        pytest.skip(doubts[0])
    summary = summary_of(trial)
    expected_ms = 1e3 * lindley([one.intended for one in trial.samples], kind, mean_s)
    assert summary.ok == summary.sent == len(expected_ms)
    assert summary.mean_ms is not None
    assert summary.mean_ms.value == pytest.approx(expected_ms.mean(), rel=0.05)
    p99_ms = float(np.quantile(expected_ms, 0.99, method="inverted_cdf"))
    assert summary.percentiles_ms[99.0].value == pytest.approx(p99_ms, rel=0.05)


def lindley(arrived: list[float], kind: str, mean_s: float) -> np.ndarray:
    """The time that each spends at the queue server of this kind, in s."""
    free, spent = 0.0, []
    for at, service_s in zip(arrived, queue_server.service_times(kind, mean_s), strict=False):
        free = max(free, at) + service_s
        spent.append(free - at)
    return np.array(spent)


def stalling(every: int, stall_s: float) -> Iterator[float]:
    """10 ms each, and each so manieth stalls."""
    number = 0
    while True:
        number += 1
        yield stall_s if number % every == 0 else 0.01


def test_closed_loop_hides_a_stall_that_an_open_loop_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coordinated omission: who waits for the answer asks nobody how long the others waited.

    A server that answers in 10 ms, but once in 400 requests stands still for 2 s, as 20 requests a
    second come: a tenth of the time it stands still, and so a tenth of the callers meet it.
    """

    async def from_many() -> list[Sample]:
        times = arrivals(20.0, 400.0, "constant")
        return await open_loop(Queue(stalling(400, 2.0)), times, lambda _: Call("", b""))

    async def from_one() -> list[Sample]:
        return await closed_loop(Queue(stalling(400, 2.0)), 1, 400.0, lambda _: Call("", b""))

    of_many = summary_of(Trial(Load(20.0), in_virtual_time(from_many, monkeypatch), 0.0))
    of_one = summary_of(Trial(Load(callers=1), in_virtual_time(from_one, monkeypatch), 0.0))
    assert of_one.percentiles_ms[99.0].value == pytest.approx(10.0)
    assert of_many.percentiles_ms[99.0].value > 1500.0
    assert of_one.slowest_ms == pytest.approx(of_many.slowest_ms) == pytest.approx(2000.0)


def test_work_of_the_client_before_sending_is_latency_too() -> None:
    sample = Sample(intended=1.0, sent=1.5, ended=1.6, outcome=Outcome.OK)
    assert sample.latency == pytest.approx(0.6)


REPLIES = {
    "ok": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "503": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "429": b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n\r\n",
    "504": b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n",
    "500": b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    "400": b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n",
    "answer cut short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "connection closed without an answer": b"",
    "connection reset": b"",
    "no answer in time": b"",
}


def troubled(done: Counter[str]) -> Serve:
    """Gives each kind of trouble in turn, and counts what it has done."""
    kinds = list(REPLIES)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await read_request(reader)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                break
            kind = kinds[done.total() % len(kinds)]
            done[kind] += 1
            if kind == "connection reset":
                # Closing says so only with a reset.
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            if kind == "no answer in time":
                await reader.read()
                break
            writer.write(REPLIES[kind])
            if kind in ("answer cut short", "connection closed without an answer"):
                break
        writer.close()

    return serve


@pytest.mark.parametrize(
    "load",
    [
        Load(200.0, process="constant", seconds=1.0, warm_up_s=0.0, timeout_s=0.5),
        Load(callers=4, seconds=1.0, warm_up_s=0.0, timeout_s=0.2),
    ],
    ids=["open", "closed"],
)
def test_every_request_is_in_the_accounts_by_what_became_of_it(load: Load) -> None:
    done = Counter[str]()

    async def main() -> Trial:
        async with server(troubled(done)) as url:
            return await Runner(Post([url]), PICTURES).run(load)

    trial = asyncio.run(main())
    summary = summary_of(trial)
    assert summary.sent == done.total() == sum(summary.outcomes.values()) >= len(REPLIES)
    assert dict(summary.reasons) == {kind: n for kind, n in done.items() if kind != "ok"}
    assert summary.ok == done["ok"]
    if load.rate:
        assert summary.sent == 200
    assert any("were not answered" in doubt for doubt in doubts_of("load", [trial]))


def test_server_that_went_away_is_counted_too() -> None:
    async def main() -> Trial:
        async with server(answering("")) as url:
            pass
        return await Runner(Post([url]), PICTURES).run(
            Load(100.0, process="constant", seconds=0.5, warm_up_s=0.0)
        )

    summary = summary_of(asyncio.run(main()))
    assert dict(summary.reasons) == {"connection refused": 50}
    assert summary.percentiles_ms == {}
