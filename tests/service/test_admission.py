"""Deadlines over HTTP: who can't be answered in time is told at once, before any work."""

from __future__ import annotations

import asyncio
import time

import pytest

from model.letterbox import Canvas
from service.scheduling.batcher import Batcher
from tests.service.fakes import HeldEngine, picture, settle
from tests.service.sockets import listening, post

pytestmark = pytest.mark.anyio

PNG = picture()
CANVAS = Canvas(128, 160)


def take(batcher: Batcher, seconds: float) -> None:
    """Has runs of one and of two images taken so long for a while."""
    for size in (1, 2):
        batcher.forecast.warmed(CANVAS, size, seconds)
        for _ in range(100):
            batcher.forecast.ran(CANVAS, size, seconds, time.monotonic())


@pytest.fixture
def batcher_of():
    """Keeps the batcher of the server that `serving` makes."""

    class Keep:
        def __call__(self, app) -> None:
            self.app = app

        @property
        def batcher(self) -> Batcher:
            return self.app.state.runtime.model.batcher

    return Keep()


@pytest.mark.parametrize(
    ("query", "settings"), [("?timeout_ms=1000", {}), ("", {"default_timeout_ms": 1000})]
)
async def test_what_cannot_be_in_time_is_503_at_once(serving, batcher_of, query, settings):
    async with serving(app_of=batcher_of, **settings) as client:
        take(batcher_of.batcher, 5.0)
        answer = await client.post(f"/v1/detect{query}", content=PNG)
        metrics = (await client.get("/metrics")).text
    assert (answer.status_code, answer.json()["code"]) == (503, "too_late")
    assert 4 <= int(answer.headers["retry-after"]) <= 10
    assert 'retinaserve_requests_total{outcome="rejected",route="/v1/detect"} 1.0' in metrics
    assert 'retinaserve_stage_duration_seconds_count{stage="decode"} 1.0' not in metrics


async def test_a_refusal_does_not_wait_for_the_upload():
    async with listening(default_timeout_ms=1000) as server:
        take(server.app.state.runtime.model.batcher, 5.0)
        client = await server.connect()
        client.send(post(PNG)[:-1])
        answer = await client.answer()
    assert answer.status == 503


async def test_a_request_without_a_deadline_is_never_too_late(serving, batcher_of):
    async with serving(app_of=batcher_of) as client:
        take(batcher_of.batcher, 5.0)
        assert (await client.post("/v1/detect", content=PNG)).status_code == 200


async def test_timeout_ms_wins_over_the_default(serving, batcher_of):
    async with serving(app_of=batcher_of, default_timeout_ms=1000) as client:
        take(batcher_of.batcher, 5.0)
        answer = await client.post("/v1/detect?timeout_ms=60000", content=PNG)
    assert answer.status_code == 200


async def test_what_can_no_longer_be_in_time_never_reaches_the_engine(serving, batcher_of):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine, app_of=batcher_of) as client:
        engine.batches.clear()
        engine.hold = True
        first = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await engine.begun.wait()
        second = asyncio.ensure_future(client.post("/v1/detect?timeout_ms=30000", content=PNG))
        while batcher_of.batcher.queued < 1:  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        take(batcher_of.batcher, 60.0)
        engine.release_all()
        answers = await asyncio.gather(first, second)
    assert [answer.status_code for answer in answers] == [200, 503]
    assert answers[1].json()["code"] == "too_late"
    assert len(engine.batches) == 1


async def test_the_images_of_one_request_are_refused_one_by_one(serving, batcher_of):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine, app_of=batcher_of, max_batch_size=1) as client:
        take(batcher_of.batcher, 2.0)
        files = [("a", ("a.png", PNG)), ("b", ("b.png", PNG)), ("c", ("c.png", PNG))]
        answer = await client.post("/v1/detect?timeout_ms=5000", files=files)
    results = answer.json()["results"]
    assert answer.status_code == 200
    assert ["problem" in result for result in results] == [False, False, True]
    assert results[2]["problem"]["code"] == "too_late"


async def test_the_warm_up_gives_the_first_figures(serving, batcher_of):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine, app_of=batcher_of) as client:
        engine.hold = True
        running = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await engine.begun.wait()
        await settle()
        assert batcher_of.batcher.wait_s > 0.0
        engine.release_all()
        await running
