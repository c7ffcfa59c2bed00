"""How fast a run is, and how much of its time it waits for data."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

WINDOW = 50
"""Steps that the averages cover."""


class Pace(NamedTuple):
    """Seconds a step takes, those of them spent waiting for data, and images a second."""

    step_s: float
    wait_s: float
    images_per_s: float

    @property
    def wait_share(self) -> float:
        """The share of the time that was spent waiting for data, 0 to 1."""
        return self.wait_s / self.step_s if self.step_s else 0.0


class Meter:
    """Times the steps of a run; evaluations and checkpoints lie between them."""

    def __init__(self, batch_size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.batch_size, self._clock = batch_size, clock
        self._waited = 0.0
        self._steps: deque[tuple[float, float]] = deque(maxlen=WINDOW)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait for a step's data."""
        start = self._clock()
        yield
        self._waited = self._clock() - start

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around the step itself, which ends with it."""
        start = self._clock()
        yield
        self._steps.append((self._waited, self._clock() - start))

    def pace(self, steps: int = WINDOW) -> Pace:
        """The average over the last `steps`."""
        last = list(self._steps)[-steps:]
        waited = sum(wait for wait, _ in last)
        total = waited + sum(work for _, work in last)
        count = max(1, len(last))
        rate = self.batch_size * len(last) / total if total else 0.0
        return Pace(total / count, waited / count, rate)
