"""Promise 4 on a virtual clock: at twice the capacity, what the engine can do is done in time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from model.letterbox import Canvas
from service.errors import Problem, Unavailable
from service.scheduling.schedule import Answer, Entry
from tests.service.scheduling.entries import LARGE, SMALL, Desk, key

RunTime = Callable[[Canvas, int], float]
"""Seconds of a run, before chance has its part."""


@dataclass
class Result:
    """Images by how they ended; of those answered in time, when."""

    answered: list[float] = field(default_factory=list)
    refused_at_once: int = 0
    refused_later: int = 0
    late: int = 0


class World:
    """A server and its callers; things happen in the order of a virtual clock."""

    def __init__(
        self,
        run_s: RunTime,
        batch_size: int,
        noise: float,
        decode_s: float,
        decode_threads: int = 16,
    ) -> None:
        self.desk = Desk(batch_size, queue_limit=256, decode_threads=decode_threads)
        self.threads_free_at = [0.0] * decode_threads
        self.dispatcher = self.desk.dispatcher
        self.run_s, self.noise, self.decode_s = run_s, noise, decode_s
        self.random = np.random.default_rng(7)
        self.result = Result()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), event))

    def play(self) -> Result:
        """Lets everything happen; the engine is asked whenever it is idle."""
        while self._events:
            self.desk.clock.now, _, event = heapq.heappop(self._events)
            event()
            if not self.dispatcher.running and (batch := self.dispatcher.next_batch()):
                took = self.run_s(batch[0].key.canvas, len(batch))
                took *= self.random.lognormal(0.0, self.noise)
                self.at(self.desk.clock.now + took, partial(self._ran, len(batch)))
        return self.result

    def arrive(self, canvas: Canvas, within: float) -> None:
        came = self.desk.clock.now
        try:
            place = self.dispatcher.admit(key(canvas), came + within)
        except Unavailable:
            self.result.refused_at_once += 1
            return

        def decoded() -> None:
            entry = self.desk.entry(place)
            try:
                self.dispatcher.add(entry, place)
            except Problem:
                self.result.refused_later += 1
                return
            self.at(came + within, partial(self._deadline, entry))

        done = max(came, heapq.heappop(self.threads_free_at)) + self.decode_s
        heapq.heappush(self.threads_free_at, done)
        self.at(done, decoded)

    def _ran(self, size: int) -> None:
        self.dispatcher.succeeded(["found"] * size)

    def _deadline(self, entry: Entry) -> None:
        """Has the caller look at what it got."""
        if not entry.owner.done():
            entry.owner.gone = True
            self.dispatcher.leave(entry)
            self.result.late += 1
        elif isinstance(entry.owner.told[0], Answer):
            self.result.answered.append(entry.owner.told_at)
        else:
            self.result.refused_later += 1


def cpu(canvas: Canvas, size: int) -> float:
    return 0.046 * size * (1 if canvas == SMALL else 2.1)


def gpu(canvas: Canvas, size: int) -> float:
    return 0.002 + 0.001 * size


ARRIVALS = 6000


@pytest.mark.parametrize("noise", [0.02, 0.2])
@pytest.mark.parametrize(
    ("run_s", "batch_size", "canvases", "within"),
    [
        (cpu, 2, [SMALL], 0.5),
        (cpu, 1, [SMALL], 0.2),
        (cpu, 2, [SMALL, LARGE], 1.0),
        (gpu, 16, [SMALL], 0.06),
        (gpu, 16, [SMALL], 0.2),
    ],
)
def test_twice_the_capacity_is_answered_in_time_or_refused(
    run_s, batch_size, canvases, within, noise
):
    world = World(run_s, batch_size, noise, decode_s=0.003)
    for canvas, size in itertools.product(canvases, range(1, batch_size + 1)):
        world.dispatcher.forecast.warmed(canvas, size, 3 * run_s(canvas, size))
    spread = np.exp(noise**2 / 2)  # the mean of the noise
    capacity = batch_size / np.mean([run_s(canvas, batch_size) for canvas in canvases]) / spread
    times = 100.0 + np.cumsum(world.random.exponential(1 / (2 * capacity), ARRIVALS))
    for time, pick in zip(times, world.random.integers(len(canvases), size=ARRIVALS), strict=True):
        world.at(time, partial(world.arrive, canvases[pick], within))
    result = world.play()
    in_time = sum(time <= times[-1] for time in result.answered)
    assert in_time >= 0.95 * capacity * (times[-1] - 100.0)
    assert result.refused_later <= 0.05 * result.refused_at_once
    assert result.late <= 0.01 * (len(result.answered) + result.late)


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_decoding_is_expected_to_take_what_its_threads_take(threads):
    world = World(gpu, 16, 0.0, decode_s=0.1, decode_threads=threads)
    alone = [world.desk.clock.now + number for number in range(50)]
    for time in alone:
        world.at(time, partial(world.arrive, SMALL, 5.0))
    last = alone[-1] + 0.5
    rounds = 32 / threads
    for _ in range(32):
        world.at(last, partial(world.arrive, SMALL, 0.1 * rounds * 1.1 + 0.1))
    result = world.play()
    assert (len(result.answered), result.late) == (82, 0)
    # Half of a burst is in time where there is time for half of it.
    world.at(last + 100.0, partial(world.arrive, SMALL, 5.0))
    for _ in range(32):
        world.at(last + 100.5, partial(world.arrive, SMALL, 0.1 * rounds / 2 + 0.05))
    result = world.play()
    assert 82 + 1 + 12 <= len(result.answered) <= 82 + 1 + 16
    assert result.late == 0
