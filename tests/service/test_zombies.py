"""Promise 1 on real sockets: who leaves a kept or pipelined connection costs nothing any more."""

from __future__ import annotations

import asyncio

import pytest

from service.pictures.images import open_header
from tests.service.fakes import HeldEngine, picture
from tests.service.sockets import Listening, get, listening, post

pytestmark = pytest.mark.anyio

PNG = picture()


@pytest.fixture
def anyio_backend():
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """The pictures that were opened."""
    opened: list[bytes] = []

    def opening(data, *rest):
        opened.append(data)
        return open_header(data, *rest)

    monkeypatch.setattr("service.pictures.decoding.open_header", opening)
    return opened


async def queued(server: Listening, images: int) -> None:
    while server.app.state.runtime.model.batcher.queued != images:  # noqa: ASYNC110 - by a thread
        await asyncio.sleep(0.001)


async def test_sixty_four_that_leave_cost_the_next_one_only_the_run_under_way():
    engine = HeldEngine()
    async with listening(engine, queue_limit=80) as server:
        first = await server.connect()
        first.send(post(PNG))
        await engine.begun.wait()
        leavers = [await server.connect() for _ in range(64)]
        for leaver in leavers:
            leaver.send(post(PNG))
        await queued(server, 64)
        for leaver in leavers:
            leaver.writer.close()
        await server.have_connections(1)
        await queued(server, 0)
        following = await server.connect()
        following.send(post(PNG))
        await queued(server, 1)
        engine.release_all()
        assert [(await client.answer()).status for client in (first, following)] == [200, 200]
        assert len(engine.batches) == 2
        assert (server.outcome("cancelled"), server.outcome("ok")) == (64, 2)


async def test_who_leaves_a_kept_connection_is_taken_out_of_the_queue():
    engine = HeldEngine()
    async with listening(engine) as server:
        engine.hold = False
        leaver = await server.connect()
        leaver.send(get("/livez"))
        assert (await leaver.answer()).status == 200
        leaver.send(post(PNG))
        assert (await leaver.answer()).status == 200
        engine.hold = True
        first = await server.connect()
        first.send(post(PNG))
        await engine.begun.wait()
        leaver.send(post(PNG))
        await queued(server, 1)
        leaver.leave()
        await queued(server, 0)
        engine.release_all()
        assert (await first.answer()).status == 200
        assert len(engine.batches) == 2


async def test_what_was_pipelined_behind_a_queued_request_is_never_decoded(decoded):
    engine = HeldEngine()
    async with listening(engine) as server:
        first = await server.connect()
        first.send(post(PNG))
        await engine.begun.wait()
        leaver = await server.connect()
        leaver.send(*(post(picture(32, side)) for side in (33, 34, 35)))
        await queued(server, 1)
        leaver.writer.close()
        await queued(server, 0)
        engine.release_all()
        assert (await first.answer()).status == 200
        await server.have_connections(1)
        assert decoded == [PNG, picture(32, 33)]
        assert len(engine.batches) == 1
        assert server.outcome("cancelled") == 1
