from __future__ import annotations

import threading

import pytest

from loadtest.cli.under_load import calls_in_turn, checked, failures, load_while, throughput
from loadtest.traffic.client import open_client
from loadtest.traffic.sample import Outcome, Sample
from model.errors import InputError
from tests.loadtest.http_server import http_server

pytestmark = pytest.mark.anyio


def sample(outcome: Outcome = Outcome.OK, why: str = "") -> Sample:
    return Sample(0.0, 0.0, 1.0, outcome, why=why)


ANSWERED = sample()
FULL = sample(Outcome.REFUSED, "503 queue_full")
LOST = sample(Outcome.CONNECTION, "connection refused")


def test_pictures_take_turns():
    call_of = calls_in_turn("http://h/", [b"a", b"b"], {"X": "1"})
    assert [call_of(number).body for number in range(3)] == [b"a", b"b", b"a"]
    assert (call_of(1).url, call_of(1).headers) == ("http://h/", {"X": "1"})


def test_checked_passes_on_what_was_answered():
    assert checked([ANSWERED, ANSWERED]) == [ANSWERED, ANSWERED]
    with pytest.raises(InputError, match="2 of 3 requests failed, one by: 503 queue_full"):
        checked([ANSWERED, FULL, LOST])


def test_failures_are_counted_by_reason():
    assert failures([FULL, ANSWERED, LOST, FULL]) == {"503 queue_full": 2, "connection refused": 1}


async def test_throughput_is_of_answers_alone():
    async with open_client(60.0) as client:
        with http_server() as url:
            assert await throughput(client, 2, 0.1, calls_in_turn(url, [b"picture"])) > 0
        with http_server(lambda _: (500, b"")) as url, pytest.raises(InputError, match="500"):
            await throughput(client, 2, 0.1, calls_in_turn(url, [b"picture"]))


async def test_requests_come_until_the_work_is_done():
    asked = threading.Event()

    def reply(number: int) -> tuple[int, bytes]:
        if number == 2:
            asked.set()
        return 200, b"{}"

    def work(now) -> tuple[float, float]:
        began = now()
        assert asked.wait(60)
        return began, now()

    with http_server(reply) as url:
        samples, (began, ended) = await load_while(work, calls_in_turn(url, [b"picture"]), 100.0)
    assert failures(samples) == {}
    # The third came while the work was done, by the clock that the samples have as well.
    assert len(samples) >= 3
    assert began <= samples[2].sent <= ended


async def test_work_that_fails_ends_the_load():
    def work(_) -> None:
        raise InputError("the server is gone")

    with http_server() as url, pytest.raises(InputError, match="the server is gone"):
        await load_while(work, calls_in_turn(url, [b"picture"]), 100.0)
