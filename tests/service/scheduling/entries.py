"""A virtual clock, owners that keep what they are told, and small entries for the dispatcher."""

from __future__ import annotations

import numpy as np

from model.letterbox import Canvas
from service.errors import Problem
from service.scheduling.dispatcher import Dispatcher
from service.scheduling.schedule import Answer, Entry, Key, Limits, Place

SMALL, LARGE = Canvas(32, 32), Canvas(64, 64)
PIXEL = np.zeros((1, 1, 3), np.uint8)


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Owner:
    """Keeps all that it is told; `gone` is set where it leaves."""

    def __init__(self, clock: Clock) -> None:
        self.told: list[Answer | Exception] = []
        self.told_at = 0.0
        self.gone = False
        self._clock = clock

    def done(self) -> bool:
        return self.gone or bool(self.told)

    def set_result(self, result: Answer, /) -> None:
        assert not self.done()
        self.told.append(result)
        self.told_at = self._clock()

    def set_exception(self, exception: Exception, /) -> None:
        assert not self.done()
        self.told.append(exception)

    @property
    def problem(self) -> type[Exception] | None:
        return type(self.told[0]) if self.told and isinstance(self.told[0], Problem) else None


def key(canvas: Canvas = SMALL) -> Key:
    return Key(canvas, 0.05, 0.5)


class Desk:
    """A dispatcher on a virtual clock."""

    def __init__(
        self,
        batch_size: int = 4,
        queue_limit: int = 64,
        limits: Limits | None = None,
        decode_threads: int = 1,
    ) -> None:
        self.clock = Clock()
        self.reports = []
        self.dispatcher = Dispatcher(
            limits or Limits(batch_size, 10**9),
            queue_limit,
            self.clock,
            self.reports.append,
            decode_threads,
        )

    def entry(self, place: Place, canvas: Canvas | None = None) -> Entry:
        own = place.key if canvas is None else key(canvas)
        return Entry(own, PIXEL, (1, 1), self.clock(), place.deadline, owner=Owner(self.clock))

    def queue(self, canvas: Canvas = SMALL, within: float | None = None) -> Entry:
        """An image that is admitted, decoded in no time and queued."""
        deadline = None if within is None else self.clock() + within
        place = self.dispatcher.admit(key(canvas), deadline)
        entry = self.entry(place)
        self.dispatcher.add(entry, place)
        return entry

    def run(self, seconds: float) -> list[Entry]:
        """Runs the next batch, for so long; it goes well."""
        batch = self.dispatcher.next_batch()
        assert batch is not None
        self.clock.now += seconds
        self.dispatcher.succeeded(["found"] * len(batch))
        return list(batch)
