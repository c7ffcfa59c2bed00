"""Pictures decoded in threads, holding no more bytes together than they may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from PIL import Image

from export.manifest import Manifest
from service.errors import TooLarge
from service.pictures.byte_budget import ByteBudget
from service.pictures.decoded_bytes import decoded_bytes, upright_bytes
from service.pictures.images import (
    PreparedImage,
    decode_into_canvas,
    decode_upright,
    open_header,
    shrink_in_decoder,
    undecodable,
)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class _Plan(Generic[T]):
    """What is to be done with a picture whose header has been read, and the bytes that it takes."""

    size: int
    work: Callable[[], T]


class Decoding:
    """Decodes in `pool`, within a budget of `max_bytes`, pictures of up to `max_pixels`."""

    def __init__(self, pool: Executor, max_bytes: int, max_pixels: int) -> None:
        self.budget = ByteBudget(max_bytes)
        self._pool = pool
        self._max_pixels = max_pixels

    async def prepare(self, data: bytes, scale: int, manifest: Manifest) -> PreparedImage:
        """The picture in the canvas that it gets at a scale.

        Waits while other pictures have the bytes that it needs; who leaves meanwhile costs nothing
        more. Raises UnsupportedType, TooLarge and Undecodable.
        """

        def plan(image: Image.Image) -> _Plan[PreparedImage]:
            stored = image.size
            shrink = shrink_in_decoder(image, scale)
            size = decoded_bytes(image, data, scale, manifest, shrink)
            return _Plan(size, lambda: decode_into_canvas(image, stored, scale, manifest))

        return await self._run(data, plan)

    async def use_upright(self, data: bytes, use: Callable[[Image.Image], T]) -> T:
        """What `use`, called in a thread, makes of the upright picture; otherwise as `prepare`.

        `use` may hold one more picture of this size.
        """

        def plan(image: Image.Image) -> _Plan[T]:
            return _Plan(upright_bytes(image, data), lambda: use(decode_upright(image)))

        return await self._run(data, plan)

    async def _run(self, data: bytes, plan: Callable[[Image.Image], _Plan[T]]) -> T:
        done = await in_pool(self._pool, self._begin, data, plan)
        if not isinstance(done, _Plan):
            return done
        postponed: _Plan[T] = done
        await self.budget.take(postponed.size)
        future = self._pool.submit(postponed.work)
        # Not when this coroutine ends: cancelled, it leaves a thread behind that still decodes.
        future.add_done_callback(lambda _: self.budget.give_back(postponed.size))
        return await asyncio.wrap_future(future)

    def _begin(self, data: bytes, plan: Callable[[Image.Image], _Plan[T]]) -> T | _Plan[T]:
        """Reads the header, and decodes if there are bytes for it at once: one hop, as a rule."""
        image = open_header(data, self._max_pixels)
        width, height = image.size
        try:
            planned = plan(image)
        except Exception as error:
            raise undecodable(image, error) from None
        if planned.size > self.budget.total:
            raise TooLarge(
                f"decoding this {image.format} of {width}x{height} pixels takes "
                f"{planned.size:,} bytes; accepted are up to {self.budget.total:,}"
            )
        if not self.budget.take_at_once(planned.size):
            return planned
        try:
            return planned.work()
        finally:
            self.budget.give_back(planned.size)


async def in_pool(pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a function in a pool; when cancelled before a thread took it up, it never runs."""
    return await asyncio.wrap_future(pool.submit(function, *args, **kwargs))
