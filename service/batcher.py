"""The one owner of the engine: batches because the engine is busy, never to wait for company.

While a batch runs, entries queue; when it ends, the next batch is whatever queued meanwhile. An
entry whose owner is cancelled is taken out before the engine sees it. A batch that fails is
bisected, so that only the image at fault gets the error.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.engines.session import Detections
from model.letterbox import Canvas
from service.engine import Engine
from service.errors import DeadlinePassed, Draining, InferenceFailed, QueueFull
from service.schedule import Entry, Key, Limits, Schedule
from service.stages import Clock

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER_S = 60

RATE_MEMORY = 0.9
"""Weight of the past in the drain rate at each batch: about the last ten batches count."""


@dataclass(frozen=True)
class Answer:
    """What an entry got, and when its run began on the batcher's clock."""

    detections: Detections
    dispatched_at: float


@dataclass(frozen=True)
class BatchReport:
    """One run of the engine, for the metrics."""

    canvas: Canvas
    size: int
    image_pixels: int
    """Valid canvas pixels; the rest of size x canvas is padding."""
    reason: str
    """idle: the engine waited for it · full: a bound cut it · busy: all that had queued · retry:
    a part of a batch that failed."""
    seconds: float
    failed: bool


class DrainRate:
    """Images per second that leave the queue while there are any."""

    def __init__(self) -> None:
        self._images = 0.0
        self._seconds = 0.0

    def observe(self, images: int, seconds: float) -> None:
        """Takes one run into account."""
        self._images = self._images * RATE_MEMORY + images
        self._seconds = self._seconds * RATE_MEMORY + seconds

    def wait_s(self, images: int) -> float:
        """How long so many images take; 0 before anything has been measured."""
        return images * self._seconds / self._images if self._images else 0.0


class Batcher:
    """Takes images, answers detections; `run` must be running. One event loop only."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        queue_limit: int,
        report: Callable[[BatchReport], None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.limits = limits
        self.queue_limit = queue_limit
        self.rate = DrainRate()
        self._engine = engine
        self._report = report
        self._clock = clock
        self._schedule = Schedule(limits)
        self._owners: dict[Entry, asyncio.Future[Answer]] = {}
        self._running: Sequence[Entry] = ()
        self._admitted = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._ended = False

    @property
    def queued(self) -> int:
        """Images in the queues."""
        return len(self._schedule)

    @property
    def running(self) -> int:
        """Batches in the engine: 0 or 1."""
        return int(bool(self._running))

    @property
    def waiting(self) -> int:
        """Admitted images that the engine has not begun: being decoded or queued."""
        return self._admitted - sum(self._is_wanted(entry) for entry in self._running)

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest entry has been queued; 0 if none is."""
        return self._schedule.oldest_age_s(self._clock())

    @property
    def wait_s(self) -> float:
        """How long what waits now will take, by the measured rate."""
        return self.rate.wait_s(self.waiting)

    def retry_after_s(self) -> int:
        """Whole seconds until what waits now is done; 1 to 60."""
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(self.wait_s)))

    def check_room(self) -> None:
        """Raises QueueFull or Draining where an image that came now would be refused."""
        if self._closing:
            raise Draining
        if self.waiting >= self.queue_limit:
            raise QueueFull(self.queue_limit, self.retry_after_s())

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place for one image from before it is decoded until it is answered, or QueueFull.

        Taken before decoding: an image that will be refused shall cost nothing.
        """
        self.check_room()
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1
            self._wake.set()  # a closing batcher waits for the last to go

    async def submit(
        self,
        image: NDArray[np.uint8],
        image_size: tuple[int, int],
        thresholds: tuple[float, float],
        deadline: float | None = None,
    ) -> Answer:
        """What the engine finds in a canvas; cancelling this takes the image out of the queue.

        `image` uint8 [H, W, 3], `image_size` its valid (height, width), `thresholds` (score, iou),
        `deadline` on the batcher's clock. Raises DeadlinePassed, InferenceFailed and Draining.
        """
        if self._ended:
            raise Draining
        canvas = Canvas(image.shape[0], image.shape[1])
        entry = Entry(Key(canvas, *thresholds), image, image_size, self._clock(), deadline)
        owner = self._owners[entry] = asyncio.get_running_loop().create_future()
        self._schedule.add(entry)
        self._wake.set()
        try:
            answer: Answer = await owner
            return answer
        finally:
            del self._owners[entry]
            self._schedule.discard(entry)

    async def run(self) -> None:
        """Dispatches until `close` is called and all is done. Whoever still waits then is told."""
        try:
            await self._dispatch()
        finally:
            self._closing = self._ended = True
            for owner in self._owners.values():
                if not owner.done():
                    owner.set_exception(Draining())

    def close(self) -> None:
        """Admits no more; `run` returns when what was admitted is done."""
        self._closing = True
        self._wake.set()

    async def _dispatch(self) -> None:
        idle = False
        while True:
            for entry in self._schedule.expire(self._clock()):
                if self._is_wanted(entry):
                    self._owners[entry].set_exception(DeadlinePassed())
            batch = self._schedule.take_batch()
            if batch:
                full = len(batch) == self.limits.capacity(batch[0].key.canvas)
                await self._run_batch(batch, "idle" if idle else "full" if full else "busy")
                idle = False
            elif self._closing and not self._admitted:
                return
            else:
                idle = True
                self._wake.clear()
                await self._wake.wait()

    async def _run_batch(self, batch: Sequence[Entry], reason: str) -> None:
        batch = [entry for entry in batch if self._is_wanted(entry)]
        if not batch:
            return
        began = self._clock()
        self._running = batch
        found: list[Detections] = []
        try:
            found = await self._engine.run(batch)
            if len(found) != len(batch):
                raise RuntimeError(f"{len(found)} results for a batch of {len(batch)}")
        except Exception:
            logger.exception("a batch of %d failed in the engine", len(batch))
        finally:
            self._running = ()
        self._finished(batch, reason, began, failed=not found)
        if found:
            for entry, detections in zip(batch, found, strict=True):
                if self._is_wanted(entry):
                    self._owners[entry].set_result(Answer(detections, began))
        elif len(batch) == 1:
            if self._is_wanted(batch[0]):
                self._owners[batch[0]].set_exception(InferenceFailed())
        else:
            middle = len(batch) // 2
            await self._run_batch(batch[:middle], "retry")
            await self._run_batch(batch[middle:], "retry")

    def _is_wanted(self, entry: Entry) -> bool:
        """Whether somebody still waits for this entry."""
        owner = self._owners.get(entry)
        return owner is not None and not owner.done()

    def _finished(self, batch: Sequence[Entry], reason: str, began: float, failed: bool) -> None:
        seconds = self._clock() - began
        self.rate.observe(len(batch), seconds)
        pixels = sum(entry.image_size[0] * entry.image_size[1] for entry in batch)
        self._report(BatchReport(batch[0].key.canvas, len(batch), pixels, reason, seconds, failed))
