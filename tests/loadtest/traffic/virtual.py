"""Time that passes only when everybody waits: hours of load in seconds, to the microsecond."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from loadtest.protocols.protocol import Call
from loadtest.traffic.sample import Outcome, Sample

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait for its timers: it goes to the time of the next."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        real = selectors.DefaultSelector()
        super().__init__(real)
        wait = real.select

        def select(timeout: float | None = None) -> Any:
            self._virtual_now += timeout or 0.0
            return wait(0)

        real.select = select  # type: ignore[method-assign]

    def time(self) -> float:
        return self._virtual_now


class VirtualPacer:
    """`loadtest.traffic.pacer.Pacer` on the loop's own timers, which are exact here."""

    def __init__(
        self,
        times: Iterable[float],
        now: Callable[[], float],
        start: Callable[[int, float], object],
        stopped: Any = None,
    ) -> None:
        self._times, self._now, self._start = times, now, start

    async def run(self) -> None:
        for number, time in enumerate(self._times):
            await asyncio.sleep(time - self._now())
            self._start(number, time)


class Queue:
    """A server with one worker, first come first served; each request takes a known time.

    It stands where the client does, so that its samples are exact.
    """

    def __init__(self, service_s: Iterator[float]) -> None:
        self._service_s = service_s
        self._free = 0.0
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        return self._loop.time()

    async def send(self, call: Call, intended: float) -> Sample:
        sent = self.now()
        self._free = max(self._free, sent) + next(self._service_s)
        await asyncio.sleep(self._free - sent)
        return Sample(intended, sent, self.now(), Outcome.OK, 200)


def in_virtual_time(main: Callable[[], Awaitable[T]], monkeypatch: pytest.MonkeyPatch) -> T:
    """What the coroutine gives, in virtual time."""
    monkeypatch.setattr("loadtest.traffic.loops.Pacer", VirtualPacer)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())  # type: ignore[arg-type]


def exponential(mean: float, seed: int) -> Iterator[float]:
    random = np.random.default_rng(seed)
    while True:
        yield from random.exponential(mean, 1000).tolist()
