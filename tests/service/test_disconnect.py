"""A client that leaves costs nothing from then on: at the level of ASGI messages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.pictures.images import open_header
from service.settings import Settings
from tests.service.fakes import FakeSession, HeldEngine, picture, settle

pytestmark = pytest.mark.anyio

PNG = picture()


class Client:
    """One POST /v1/detect, message by message."""

    def __init__(self, app: FastAPI, query: str = "") -> None:
        self._inbox: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.sent: list[dict[str, object]] = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/detect",
            "raw_path": b"/v1/detect",
            "query_string": query.encode(),
            "headers": [],
            "scheme": "http",
            "server": ("server", 80),
            "client": ("client", 1),
            "root_path": "",
        }

        async def send(message):
            self.sent.append(message)

        self.done = asyncio.ensure_future(app(scope, self._inbox.get, send))

    def body(self, data: bytes, more: bool = False) -> None:
        self._inbox.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def leave(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> object:
        return self.sent[0]["status"] if self.sent else None


@asynccontextmanager
async def server(engine: HeldEngine, **settings) -> AsyncIterator[FastAPI]:
    given = {"decode_threads": 1, "engine_threads": 1, "max_batch_size": 1} | settings
    app = create_app(Settings(**given), FakeSession(), engine=engine)
    engine.hold = False
    async with app.router.lifespan_context(app):
        await app.state.runtime.model.warmed.wait()
        engine.batches.clear()
        engine.hold = True
        yield app
        engine.release_all()


def count(app: FastAPI, sample: str) -> float:
    for line in app.state.runtime.metrics.render().decode().splitlines():
        if line.startswith(sample + " "):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no sample {sample}")


CANCELLED = 'retinaserve_requests_total{outcome="cancelled",route="/v1/detect"}'
IMAGES_CANCELLED = 'retinaserve_images_total{outcome="cancelled"}'


async def test_leaving_during_the_upload_ends_the_request():
    engine = HeldEngine()
    async with server(engine) as app:
        client = Client(app)
        client.body(PNG[:50], more=True)
        await settle()
        client.leave()
        await client.done
        assert client.sent == []
        assert engine.batches == []
        assert count(app, CANCELLED) == 1


async def test_leaving_while_queued_frees_the_place_before_the_engine_sees_it():
    engine = HeldEngine()
    async with server(engine) as app:
        batcher = app.state.runtime.model.batcher
        first = Client(app)
        first.body(PNG)
        await engine.begun.wait()
        leavers = [Client(app) for _ in range(12)]
        for leaver in leavers:
            leaver.body(PNG)
        while batcher.queued < 12:  # noqa: ASYNC110 - the decode thread sets no event
            await asyncio.sleep(0.001)
        for leaver in leavers:
            leaver.leave()
        await asyncio.gather(*(leaver.done for leaver in leavers))
        assert batcher.queued == 0
        last = Client(app)
        last.body(PNG)
        engine.release_all()
        await asyncio.gather(first.done, last.done)
        assert [first.status, last.status] == [200, 200]
        assert len(engine.batches) == 2
        assert count(app, CANCELLED) == count(app, IMAGES_CANCELLED) == 12


async def test_leaving_while_waiting_for_a_decode_thread_skips_the_decoding(monkeypatch):
    decoded = []
    gate, begun = threading.Event(), threading.Event()

    def slow_open(data, *rest):
        decoded.append(data)
        begun.set()
        assert gate.wait(10)
        return open_header(data, *rest)

    monkeypatch.setattr("service.pictures.decoding.open_header", slow_open)
    engine = HeldEngine()
    async with server(engine, decode_threads=1) as app:
        engine.hold = False
        first, leaver = Client(app), Client(app)
        first.body(PNG)
        await asyncio.to_thread(begun.wait, 10)
        leaver.body(picture(32, 32))
        await settle(20)
        leaver.leave()
        await leaver.done
        gate.set()
        await first.done
        assert decoded == [PNG]
        assert first.status == 200
        assert app.state.runtime.model.batcher.waiting == 0


async def test_leaving_while_the_engine_runs_answers_nobody_and_harms_nobody():
    engine = HeldEngine()
    async with server(engine) as app:
        client = Client(app)
        client.body(PNG)
        await engine.begun.wait()
        client.leave()
        await client.done
        assert client.sent == []
        following = Client(app)
        following.body(PNG)
        engine.release_all()
        await following.done
        assert following.status == 200


async def test_a_slow_body_is_408_and_closes_the_connection():
    async with server(HeldEngine(), body_timeout_s=0.01) as app:
        client = Client(app)
        client.body(PNG[:50], more=True)
        await client.done
        assert client.status == 408
        assert (b"connection", b"close") in client.sent[0]["headers"]
        assert count(app, 'retinaserve_requests_total{outcome="client_error",route="/v1/detect"}')


async def test_a_full_queue_refuses_before_the_upload():
    engine = HeldEngine()
    async with server(engine, queue_limit=1) as app:
        first = Client(app)
        first.body(PNG)
        await engine.begun.wait()
        second = Client(app)
        second.body(PNG)
        while app.state.runtime.model.batcher.queued < 1:  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        third = Client(app)
        await third.done
        assert third.status == 503
        engine.release_all()
        await asyncio.gather(first.done, second.done)


async def test_timeout_ms_covers_the_upload():
    async with server(HeldEngine()) as app:
        client = Client(app, query="timeout_ms=10")
        client.body(PNG[:50], more=True)
        await client.done
        assert client.status == 504


async def test_a_request_cancelled_from_outside_is_counted():
    async with server(HeldEngine()) as app:
        client = Client(app)
        await settle()
        client.done.cancel()
        await asyncio.gather(client.done, return_exceptions=True)
        assert count(app, CANCELLED) == 1
