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


async def test_unless_client_leaves_passes_on_what_the_block_does():
    async with unless_client_leaves(receiving()):
        await asyncio.sleep(0)
    with pytest.raises(KeyError):
        async with unless_client_leaves(receiving()):
            raise KeyError("x")


async def test_unless_client_leaves_cancels_the_block():
    with pytest.raises(ClientLeft):
        async with unless_client_leaves(receiving(LEFT)):
            await asyncio.Event().wait()
    # What comes next in the task is not cancelled any more.
    await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0


async def test_unless_client_leaves_watches_no_longer_than_its_block():
    leaves = asyncio.Event()

    async def receive():
        await leaves.wait()
        return LEFT

    async with unless_client_leaves(receive):
        await asyncio.sleep(0)
    leaves.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_cancellation_from_outside_stays_one(leaves):
    """Also when the client leaves at the same time: the drain and a deadline are told of theirs."""
    left = asyncio.Event()

    async def receive():
        await left.wait()
        return LEFT

    async def work():
        async with unless_client_leaves(receive):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if leaves:
        left.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_deadline_around_it_stays_one():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), unless_client_leaves(receiving()):
            await asyncio.Event().wait()
