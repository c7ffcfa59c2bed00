"""Which images run together, and when: pure logic, no clock and no event loop of its own.

Images queue per key (canvas and engine thresholds): only they can share a run. The key whose head
has waited longest goes next, so no key starves. A batch is bounded by count and padded pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.letterbox import Canvas


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


@dataclass(eq=False)
class Entry:
    """One queued image; times on the batcher's clock, in seconds."""

    key: Key
    image: NDArray[np.uint8]
    image_size: tuple[int, int]
    queued_at: float
    deadline: float | None = None


@dataclass
class Schedule:
    """The queues."""

    limits: Limits
    _queues: dict[Key, dict[Entry, None]] = field(default_factory=dict)
    """Each key's entries in order of arrival; a key without entries is not held."""

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __iter__(self) -> Iterator[Entry]:
        for queue in self._queues.values():
            yield from queue

    def add(self, entry: Entry) -> None:
        """Queues an entry behind those of its key."""
        self._queues.setdefault(entry.key, {})[entry] = None

    def discard(self, entry: Entry) -> None:
        """Takes an entry out, if it is still queued."""
        queue = self._queues.get(entry.key, {})
        queue.pop(entry, None)
        if not queue:
            self._queues.pop(entry.key, None)

    def expire(self, now: float) -> list[Entry]:
        """Takes out and returns the entries whose deadline has passed."""
        late = [entry for entry in self if entry.deadline is not None and entry.deadline <= now]
        for entry in late:
            self.discard(entry)
        return late

    def take_batch(self) -> list[Entry]:
        """Takes out the next batch, in order of arrival; empty if nothing is queued."""
        if not self._queues:
            return []
        key = min(self._queues, key=lambda key: next(iter(self._queues[key])).queued_at)
        batch = list(islice(self._queues[key], self.limits.capacity(key.canvas)))
        for entry in batch:
            self.discard(entry)
        return batch

    def oldest_age_s(self, now: float) -> float:
        """How long the oldest entry has been queued; 0 if none is."""
        heads = (next(iter(queue)) for queue in self._queues.values())
        return max((now - head.queued_at for head in heads), default=0.0)
