"""All that one server holds, and its life: starting, warming, ready, draining, stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Literal

from export.engines.session import Session
from service.batcher import Batcher, BatchReport
from service.engine import Engine, ThreadEngine
from service.errors import Draining, NotReady
from service.metrics import Metrics
from service.schedule import Limits
from service.settings import Settings
from service.stages import Clock
from service.warmup import Shape, shapes_of, warm

logger = logging.getLogger(__name__)

SLOW_WARM_UP_S = 2.0
"""A warm-up that takes longer is worth a line that says what it bought."""


class Runtime:
    """The parts of a running server; routes and middleware reach them through this."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        clock: Clock,
        engine: Engine | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.session = session
        self.manifest = session.manifest
        self.clock = clock
        self.metrics = Metrics(session.manifest, session.engine, session.precision)
        self.decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self.engine = engine or ThreadEngine(session)
        limits = Limits(settings.max_batch_size, settings.max_batch_pixels)
        self.batcher = Batcher(self.engine, limits, settings.queue_limit, self._report, clock)
        self.metrics.watch(self.batcher, settings.latency_target_s)
        self.warmed = asyncio.Event()
        """Set when the warm-up is over, well or not."""
        self._draining = False
        self._engine_phase: Literal["warming", "ready", "failed"] = "warming"
        self._seen: set[Shape] = set()
        self._shapes = shapes_of(self.manifest, limits)
        self._on_ready = on_ready

    @property
    def draining(self) -> bool:
        """Whether the server is shutting down, though it may still serve."""
        return self._draining

    def begin_drain(self) -> None:
        """Has /readyz say so; requests are still served."""
        self._draining = True

    def check_ready(self) -> None:
        """Raises NotReady or Draining unless new traffic should come here."""
        if self._draining:
            raise Draining
        self.check_serving()

    def check_serving(self) -> None:
        """Raises NotReady unless requests can be answered; a draining server still does."""
        if self._engine_phase == "warming":
            done, total = len(self._seen), len(self._shapes)
            raise NotReady(f"the engine is warming up: {done} of {total} shapes have run", 1)
        if self._engine_phase == "failed":
            raise NotReady("the engine does not run; the log says why", 60)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Warms in the background and dispatches until left; then finishes what is queued."""
        dispatching = asyncio.create_task(self.batcher.run())
        dispatching.add_done_callback(self._dispatcher_ended)
        warming = asyncio.create_task(self._warm_all())
        try:
            yield
        finally:
            self._draining = True
            warming.cancel()
            self.batcher.close()
            await asyncio.gather(warming, dispatching, return_exceptions=True)
            self.decoders.shutdown(wait=False, cancel_futures=True)
            self.engine.close()

    async def _warm_all(self) -> None:
        began = self.clock()
        try:
            for shape in self._shapes:
                shape_began = self.clock()
                await warm(self.engine, self.manifest, shape)
                self._seen.add(shape)
                self.batcher.rate.observe(shape[1], self.clock() - shape_began)
        except Exception:
            logger.exception("the engine failed while warming up")
            self._engine_phase = "failed"
            return
        finally:
            self.warmed.set()
        seconds = self.clock() - began
        if seconds > SLOW_WARM_UP_S:
            logger.warning(
                "warming %d shapes took %.1f s; fewer scales or a smaller max_batch_size take less",
                len(self._shapes),
                seconds,
            )
        self._engine_phase = "ready"
        if not self._draining:
            self._on_ready()

    def _report(self, report: BatchReport) -> None:
        self.metrics.observe_batch(report, (report.canvas, report.size) not in self._seen)

    def _dispatcher_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.critical("the dispatcher died", exc_info=task.exception())
            self._engine_phase = "failed"
