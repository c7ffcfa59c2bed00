"""The asyncio side of the dispatcher: owners await their entries, one task drives the engine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from model.letterbox import Canvas
from service.engine.chaos import Mark
from service.engine.engine import Engine
from service.scheduling.dispatcher import BatchReport, Dispatcher
from service.scheduling.forecast import Forecast
from service.scheduling.schedule import Answer, Entry, Key, Limits, Place
from service.telemetry.stages import Clock

logger = logging.getLogger(__name__)

Thresholds = tuple[float, float]
"""Score and IoU, as the engine applies them."""


class Batcher:
    """Takes images, answers detections; `run` must be running. One event loop only."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        queue_limit: int,
        report: Callable[[BatchReport], None] = lambda _: None,
        clock: Clock = time.monotonic,
        decode_threads: int = 1,
    ) -> None:
        self.limits = limits
        self._engine = engine
        self._clock = clock
        self._dispatcher = Dispatcher(limits, queue_limit, clock, report, decode_threads)
        self._wake = asyncio.Event()

    @property
    def forecast(self) -> Forecast:
        """What runs are expected to take; the warm-up fills it."""
        return self._dispatcher.forecast

    @property
    def queued(self) -> int:
        """Images that are decoded and wait for the engine."""
        return self._dispatcher.queued

    @property
    def running(self) -> int:
        """Batches in the engine: 0 or 1."""
        return self._dispatcher.running

    @property
    def waiting(self) -> int:
        """Admitted images that the engine has not begun: being decoded or queued."""
        return self._dispatcher.waiting

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest entry has been queued; 0 if none is."""
        return self._dispatcher.oldest_age_s

    @property
    def wait_s(self) -> float:
        """How long what runs and waits now will take, by the measured times."""
        return self._dispatcher.wait_s

    def check_room(
        self, canvases: Sequence[Canvas], thresholds: Thresholds, deadline: float | None = None
    ) -> None:
        """Raises what an image that came now, to get one of the canvases, would be refused with.

        Draining, EngineLost, QueueFull, or TooLate if it could not be answered by its deadline.
        """
        self._dispatcher.check(self._likely_key(canvases, thresholds), deadline)

    @contextmanager
    def admit(
        self, canvases: Sequence[Canvas], thresholds: Thresholds, deadline: float | None = None
    ) -> Iterator[Place]:
        """A place for one image from before it is decoded until it is queued; see `check_room`.

        Taken before decoding: an image that will be refused shall cost nothing. The deadline is on
        the batcher's clock.
        """
        place = self._dispatcher.admit(self._likely_key(canvases, thresholds), deadline)
        try:
            yield place
        finally:
            self._dispatcher.release(place)
            self._wake.set()  # a closing batcher waits for the last to go

    async def submit(
        self,
        place: Place,
        image: NDArray[np.uint8],
        image_size: tuple[int, int],
        chaos: Mark | None = None,
    ) -> Answer:
        """What the engine finds in a canvas; cancelling this takes the image out of the queue.

        `image` uint8 [H, W, 3], `image_size` its valid (height, width). Raises TooLate,
        DeadlinePassed, InferenceFailed, EngineOutOfMemory, EngineLost and Draining.
        """
        key = place.key._replace(canvas=Canvas(image.shape[0], image.shape[1]))
        owner: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = Entry(key, image, image_size, self._clock(), place.deadline, chaos, owner)
        self._dispatcher.add(entry, place)
        self._wake.set()
        try:
            return await owner
        finally:
            self._dispatcher.leave(entry)

    async def run(self) -> None:
        """Dispatches until `close` is called and all is done. Whoever still waits then is told."""
        try:
            while not self._dispatcher.done:
                self._wake.clear()
                batch = self._dispatcher.next_batch()
                if batch is None:
                    await self._wake.wait()
                else:
                    await self._run_batch(batch)
        finally:
            self._dispatcher.end()

    def close(self) -> None:
        """Admits no more; `run` returns when what was admitted is done."""
        self._dispatcher.close()
        self._wake.set()

    async def _run_batch(self, batch: Sequence[Entry]) -> None:
        try:
            found = await self._engine.run(batch)
            if len(found) != len(batch):
                raise RuntimeError(f"{len(found)} results for a batch of {len(batch)}")
        except Exception as error:
            logger.exception("a batch of %d failed in the engine", len(batch))
            self._dispatcher.failed(error)
        else:
            self._dispatcher.succeeded(found)

    def _likely_key(self, canvases: Sequence[Canvas], thresholds: Thresholds) -> Key:
        return Key(self._dispatcher.likely(canvases), *thresholds)
