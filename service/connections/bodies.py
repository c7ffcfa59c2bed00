"""Reading a request's body, and noticing that its client has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from starlette.types import Receive

from service.errors import BodyTooSlow, ClientLeft, TooLarge, UploadsFull
from service.pictures.byte_budget import ByteBudget

MIN_PROGRESS_BYTES = 16 * 1024
"""What a body must bring within each timeout, or end: one byte now and then holds no slot."""


class Upload:
    """The bytes of one request's body, held of a budget until this is left."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._size)

    def grow(self, size: int) -> None:
        """Takes bytes that have come; raises UploadsFull where the others leave too few.

        To wait for them instead could have all wait for each other, each with half a body.
        """
        if not self._budget.take_at_once(size):
            raise UploadsFull(self._budget.total)
        self._size += size


async def read_body(
    receive: Receive,
    declared_bytes: int | None,
    max_bytes: int,
    timeout_s: float,
    grow: Callable[[int], None] = lambda _: None,
) -> bytes:
    """The whole body. Raises TooLarge (at once if it says so itself), BodyTooSlow, ClientLeft.

    `grow` is told of the size of each part and may raise.
    """
    too_large = TooLarge(f"the body is larger than the {max_bytes:,} bytes that are accepted")
    if declared_bytes is not None and declared_bytes > max_bytes:
        raise too_large
    loop = asyncio.get_running_loop()
    chunks: list[bytes] = []
    total = progress = 0
    try:
        async with asyncio.timeout(timeout_s) as patience:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                grow(len(chunk))
                chunks.append(chunk)
                total += len(chunk)
                progress += len(chunk)
                if total > max_bytes:
                    raise too_large
                if progress >= MIN_PROGRESS_BYTES:
                    progress = 0
                    patience.reschedule(loop.time() + timeout_s)
    except TimeoutError:
        raise BodyTooSlow(timeout_s) from None
    return b"".join(chunks)


@asynccontextmanager
async def unless_client_leaves(receive: Receive) -> AsyncIterator[None]:
    """Cancels what is done in the block as soon as the client leaves; the block raises ClientLeft.

    To be entered when the body has been read: from then on the only message there can be is the
    disconnect. `Request.is_disconnected()` would have to be polled.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelling = task.cancelling()
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # As in asyncio.timeout: somebody else's cancellation is not swallowed with ours.
        if left and task.uncancel() <= cancelling:
            raise ClientLeft from None
        raise
    finally:
        watching.cancel()
