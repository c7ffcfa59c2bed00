from __future__ import annotations

import asyncio

import pytest

from service.connections.bodies import read_body, unless_client_leaves
from service.errors import BodyTooSlow, ClientLeft, TooLarge

pytestmark = pytest.mark.anyio


def receiving(*messages):
    """A `receive` that gives these messages and then nothing any more."""
    queue = list(messages)

    async def receive():
        if not queue:
            await asyncio.Event().wait()
        return queue.pop(0)

    return receive


def chunk(data: bytes, more: bool = True) -> dict[str, object]:
    return {"type": "http.request", "body": data, "more_body": more}


LEFT = {"type": "http.disconnect"}


async def test_read_body_joins_the_chunks():
    receive = receiving(chunk(b"ab"), chunk(b""), chunk(b"c", more=False))
    assert await read_body(receive, None, 3, 60) == b"abc"


async def test_read_body_refuses_a_declared_size_without_reading():
    with pytest.raises(TooLarge, match="1,000 bytes"):
        await read_body(receiving(), 1001, 1000, 60)


async def test_read_body_refuses_as_soon_as_it_is_too_large():
    with pytest.raises(TooLarge):
        await read_body(receiving(chunk(b"x" * 600), chunk(b"x" * 401)), None, 1000, 60)


async def test_read_body_notices_that_the_client_left():
    with pytest.raises(ClientLeft):
        await read_body(receiving(chunk(b"x"), LEFT), 10, 1000, 60)


async def test_read_body_gives_up_on_a_body_that_stops():
    with pytest.raises(BodyTooSlow) as slow:
        await read_body(receiving(chunk(b"x")), 10, 1000, 0.01)
    assert slow.value.headers == {"Connection": "close"}


class StubLoopTime:
    """Lets a receive take its time without the test waiting: timers of asyncio run by it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._real, self.ahead = loop, loop.time, 0.0

    def __enter__(self) -> StubLoopTime:
        self._loop.time = lambda: self._real() + self.ahead  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.time = self._real  # type: ignore[method-assign]


@pytest.mark.parametrize(("size", "arrives"), [(16 * 1024, True), (100, False)])
async def test_read_body_asks_for_progress_not_for_signs_of_life(size, arrives):
    with StubLoopTime(asyncio.get_running_loop()) as time:
        left = 10

        async def receive():
            nonlocal left
            left -= 1
            time.ahead += 8.0
            for _ in range(3):
                await asyncio.sleep(0)
            return chunk(b"x" * size, more=left > 0)

        reading = read_body(receive, None, 10**6, 20.0)
        if arrives:
            assert len(await reading) == 10 * size
        else:
            with pytest.raises(BodyTooSlow):
                await reading
            assert left == 7


async def test_unless_client_leaves_gives_the_result():
    async def work():
        return 7

    assert await unless_client_leaves(receiving(), work()) == 7


async def test_unless_client_leaves_passes_errors_on():
    async def work():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await unless_client_leaves(receiving(), work())


async def test_unless_client_leaves_cancels_the_work():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(ClientLeft):
        await unless_client_leaves(receiving(LEFT), work())
    assert ended == [True]


async def test_cancelling_unless_client_leaves_cancels_the_work():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = asyncio.ensure_future(unless_client_leaves(receiving(), work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
