"""An engine that is watched: once it hangs or has lost its device it runs no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from export.engines.session import Detections, DeviceFault, SessionError
from service.engine.engine import Engine
from service.engine.warmup import Shape
from service.scheduling.schedule import Entry
from service.telemetry.stages import Clock

HANG_FACTOR = 20.0
"""A run may take so many times the longest seen, and the first of its shape so many times the
least bound, since it may compile for minutes."""

LONGEST_MEMORY = 0.99
"""What is kept of the longest time at each run: one slow run is forgotten after some hundred."""


class EngineHung(DeviceFault):
    """A run did not come back in time. Its thread can't be ended, so the process has to be."""


class HangBound:
    """How long a run may take before the engine counts as hung: pure, told of each run that ends.

    `least_s`: no bound is shorter, however fast the runs are.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._longest_s = 0.0
        self._seen: set[Shape] = set()

    def seconds(self, shape: Shape) -> float:
        """The bound of a run that begins now."""
        if shape not in self._seen:
            return HANG_FACTOR * self._least_s
        return max(self._least_s, HANG_FACTOR * self._longest_s)

    def observe(self, shape: Shape, seconds: float) -> None:
        """Takes a run that ended into account; the first of a shape says nothing of later ones."""
        if shape in self._seen:
            self._longest_s = max(seconds, self._longest_s * LONGEST_MEMORY)
        self._seen.add(shape)


class WatchedEngine:
    """An engine whose first DeviceFault, a hang among them, ends its last run.

    `on_fault` is told of whatever a run raises, before its batch is. After a DeviceFault `run`
    raises it again at once, untold: nothing waits behind a thread that hangs, and a device that
    is lost gives no answer.
    """

    def __init__(
        self, engine: Engine, least_s: float, clock: Clock, on_fault: Callable[[Exception], None]
    ) -> None:
        self._engine = engine
        self._bound = HangBound(least_s)
        self._clock = clock
        self._on_fault = on_fault
        self._lost: DeviceFault | None = None

    async def run(self, batch: Sequence[Entry]) -> list[Detections]:
        """See `Engine.run`. Raises EngineHung if it takes longer than it can."""
        if self._lost is not None:
            raise self._lost
        try:
            return await self._run(batch)
        except Exception as error:
            if isinstance(error, DeviceFault):
                self._lost = error
            self._on_fault(error)
            raise

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()

    async def _run(self, batch: Sequence[Entry]) -> list[Detections]:
        shape = (batch[0].key.canvas, len(batch))
        bound_s = self._bound.seconds(shape)
        began = self._clock()
        try:
            async with asyncio.timeout(bound_s) as watch:
                found = await self._engine.run(batch)
        except TimeoutError as error:
            if not watch.expired():
                raise  # the session's own
            raise EngineHung(
                f"the engine hangs: a run of {len(batch)} on {shape[0]} took over {bound_s:.1f} s"
            ) from error
        self._bound.observe(shape, self._clock() - began)
        if len(found) != len(batch):
            raise SessionError(f"{len(found)} results for a batch of {len(batch)}")
        return found
