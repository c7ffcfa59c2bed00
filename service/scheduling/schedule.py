"""The queues: which images run together, and which go next.

Images queue per key (canvas and engine thresholds): only they can share a run. The key whose head
has waited longest goes next, so no key starves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from export.engines.session import Detections
from model.letterbox import Canvas
from service.engine.chaos import Mark
from service.telemetry.tracing import REQUEST_SPAN

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext


class Key(NamedTuple):
    """What images must have in common to share a run."""

    canvas: Canvas
    score_threshold: float
    iou_threshold: float


@dataclass(frozen=True)
class Limits:
    """Bounds of a batch: images, and padded pixels (a lone image is always let through)."""

    batch_size: int
    batch_pixels: int

    def capacity(self, canvas: Canvas) -> int:
        """Images of this canvas that one batch may hold."""
        return max(1, min(self.batch_size, self.batch_pixels // (canvas.height * canvas.width)))


@dataclass(frozen=True)
class Answer:
    """What an entry got, when its run began on the batcher's clock, and how many shared it."""

    detections: Detections
    dispatched_at: float
    batch_size: int


class Owner(Protocol):
    """Who waits for an entry: an asyncio.Future, or one of concurrent.futures."""

    def done(self) -> bool:
        """Whether nobody waits any more: answered, refused or left."""

    def set_result(self, result: Answer, /) -> None:
        """Answers."""

    def set_exception(self, exception: Exception, /) -> None:
        """Refuses."""


@dataclass(eq=False)
class Place:
    """A place for one image from before it is decoded until it is queued or has left."""

    key: Key
    """What it is expected to be queued under: its canvas is known when it is decoded."""
    deadline: float | None
    admitted_at: float
    ahead: int
    """Images that were being decoded by then."""


@dataclass(eq=False)
class Entry:
    """One queued image; times on the batcher's clock, in seconds."""

    key: Key
    image: NDArray[np.uint8]
    image_size: tuple[int, int]
    queued_at: float
    deadline: float | None = None
    chaos: Mark | None = None
    """What the engine shall do to its batch; only with `serve --chaos`."""
    owner: Owner = field(default_factory=Future[Answer])
    request_span: SpanContext | None = field(default_factory=REQUEST_SPAN.get)

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.owner.done()

    def answer(self, answer: Answer) -> None:
        """Tells the owner, if it is still there."""
        if self.wanted:
            self.owner.set_result(answer)

    def refuse(self, problem: Exception) -> None:
        """Tells the owner, if it is still there."""
        if self.wanted:
            self.owner.set_exception(problem)


class Schedule:
    """The queues."""

    def __init__(self) -> None:
        self._queues: dict[Key, dict[Entry, None]] = {}
        """Each key's entries in order of arrival; a key without entries is not held."""

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __iter__(self) -> Iterator[Entry]:
        for queue in self._queues.values():
            yield from queue

    def counts(self) -> dict[Key, int]:
        """How many entries each key has."""
        return {key: len(queue) for key, queue in self._queues.items()}

    def add(self, entry: Entry) -> None:
        """Queues an entry behind those of its key."""
        self._queues.setdefault(entry.key, {})[entry] = None

    def discard(self, entry: Entry) -> None:
        """Takes an entry out, if it is still queued."""
        queue = self._queues.get(entry.key, {})
        queue.pop(entry, None)
        if not queue:
            self._queues.pop(entry.key, None)

    def take_batch(
        self,
        capacity: Callable[[Canvas], int],
        is_late: Callable[[Entry, int], bool] = lambda entry, size: False,
    ) -> tuple[list[Entry], list[Entry]]:
        """Takes out the next batch in order of arrival, and what was passed over for being late.

        `capacity`: images that a batch of a canvas may hold. `is_late`: whether an entry would miss
        its deadline in a batch of so many that began now. The batch is the largest with none that
        is; it is empty if nothing is queued, and if those passed over leave nothing of their key,
        or nothing whose turn it is: ask again.
        """
        if not self._queues:
            return [], []
        key = self._next_key()
        queue = list(self._queues[key])
        batch: list[Entry] = []
        for size in range(min(capacity(key.canvas), len(queue)), 0, -1):
            batch = list(islice((entry for entry in queue if not is_late(entry, size)), size))
            if len(batch) == size:
                break
        ahead = queue[: queue.index(batch[-1])] if batch else queue
        passed = [entry for entry in ahead if entry not in batch]
        for entry in passed:
            self.discard(entry)
        if passed and batch and self._next_key() != key:
            return [], passed
        for entry in batch:
            self.discard(entry)
        return batch, passed

    def oldest_age_s(self, now: float) -> float:
        """How long the oldest entry has been queued; 0 if none is."""
        heads = (next(iter(queue)) for queue in self._queues.values())
        return max((now - head.queued_at for head in heads), default=0.0)

    def _next_key(self) -> Key:
        return min(self._queues, key=lambda key: next(iter(self._queues[key])).queued_at)
