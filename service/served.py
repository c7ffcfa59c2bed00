"""One model behind the service: its session, engine and batcher, and its life from warm-up on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from export.engines.session import DeviceFault, Session
from service.engine.chaos_engine import ChaosEngine
from service.engine.engine import Engine, ThreadEngine
from service.engine.traced_engine import TracedEngine
from service.engine.warmup import Shape, shapes_of, trim_heap, warm, warm_up_wait_s
from service.engine.watchdog import WatchedEngine
from service.errors import EngineLost, NotReady
from service.scheduling.batcher import Batcher
from service.scheduling.dispatcher import BatchReport
from service.scheduling.schedule import Limits
from service.settings import Settings
from service.telemetry.stages import Clock

if TYPE_CHECKING:
    from service.telemetry.spans import Tracing

logger = logging.getLogger(__name__)

SLOW_WARM_UP_S = 2.0
"""A warm-up that takes longer is worth a line that says what it bought."""


class ServedModel:
    """A session that is warmed, then serves; `engine` replaces the thread that runs it.

    `report` is told of each batch, and whether its shape was one that had not been warmed;
    `on_fault` of whatever the engine raises, a DeviceFault being the last.
    """

    def __init__(
        self,
        settings: Settings,
        session: Session,
        clock: Clock,
        report: Callable[[BatchReport, bool], None],
        engine: Engine | None = None,
        on_fault: Callable[[Exception], None] = lambda _: None,
        tracing: Tracing | None = None,
    ) -> None:
        self.session = session
        self.manifest = session.manifest
        if engine is None:
            engine = ChaosEngine(session) if settings.chaos else ThreadEngine(session)
        if tracing is not None:
            engine = TracedEngine(engine, tracing)
        self.engine = WatchedEngine(engine, settings.engine_timeout_s, clock, on_fault)
        most = min(settings.max_batch_size, session.max_batch or settings.max_batch_size)
        limits = Limits(most, settings.max_batch_pixels)
        self.batcher = Batcher(
            self.engine,
            limits,
            settings.queue_limit,
            self._observe,
            clock,
            settings.decode_threads,
        )
        self.device_lost = False
        """Whether the warm-up ended with a DeviceFault."""
        self.warmed = asyncio.Event()
        """Set when the warm-up is over, well or not."""
        self._clock = clock
        self._report = report
        self._on_fault = on_fault
        self._phase: Literal["warming", "ready", "failed"] = "warming"
        self._shapes = shapes_of(self.manifest, limits)
        self._seen: set[Shape] = set()
        self._warming_since = clock()
        self._dispatching: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether every shape has run and the engine still does."""
        return self._phase == "ready"

    @property
    def warm_up_wait_s(self) -> int:
        """Whole seconds, at least 1, until the warm-up should be over."""
        elapsed_s = self._clock() - self._warming_since
        return warm_up_wait_s(elapsed_s, len(self._seen), len(self._shapes))

    def check_serving(self) -> None:
        """Raises NotReady or EngineLost unless requests can be answered."""
        if self._phase == "warming":
            done, total = len(self._seen), len(self._shapes)
            detail = f"the engine is warming up: {done} of {total} shapes have run"
            raise NotReady(detail, self.warm_up_wait_s)
        if self._phase == "failed":
            raise EngineLost

    def fail(self) -> None:
        """Takes no more requests."""
        self._phase = "failed"

    def start(self) -> None:
        """Begins to dispatch what is submitted."""
        self._dispatching = asyncio.create_task(self.batcher.run())
        self._dispatching.add_done_callback(self._dispatcher_ended)

    async def warm(self) -> None:
        """Runs every shape once; `ready` then says whether that went well."""
        began = self._warming_since = self._clock()
        try:
            for shape in self._shapes:
                shape_began = self._clock()
                await warm(self.engine, self.manifest, shape)
                self._seen.add(shape)
                self.batcher.forecast.warmed(*shape, self._clock() - shape_began)
        except Exception as error:
            logger.exception("the engine failed while warming up")
            self.device_lost = isinstance(error, DeviceFault)
            self.fail()
            return
        finally:
            self.warmed.set()
        seconds = self._clock() - began
        if seconds > SLOW_WARM_UP_S:
            logger.warning(
                "warming %d shapes took %.1f s; fewer scales or a smaller max_batch_size take less",
                len(self._shapes),
                seconds,
            )
        trim_heap()
        if self._phase == "warming":  # not where `fail` was called meanwhile
            self._phase = "ready"

    async def try_out(self) -> None:
        """Runs the smallest shape once more; raises what the engine raises."""
        smallest = min(self._shapes, key=lambda shape: shape[0].height * shape[0].width * shape[1])
        await warm(self.engine, self.manifest, smallest)

    async def stop(self) -> None:
        """Finishes what was admitted, then lets go of the engine."""
        self.batcher.close()
        if self._dispatching is not None:
            await asyncio.gather(self._dispatching, return_exceptions=True)
        self.engine.close()

    def _observe(self, report: BatchReport) -> None:
        self._report(report, (report.canvas, report.size) not in self._seen)

    def _dispatcher_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.critical("the dispatcher died", exc_info=task.exception())
            self.fail()
            self._on_fault(DeviceFault("the dispatcher died"))
