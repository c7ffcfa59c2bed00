"""All that one server holds, and its life: starting, warming, ready, draining, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from export.engines.session import Session
from service.engine import Engine
from service.errors import Draining
from service.metrics import Metrics
from service.served import ServedModel
from service.settings import Settings
from service.stages import Clock


class Runtime:
    """The parts of a running server; routes and middleware reach them through this.

    `model` is what new requests use. A request takes it once and keeps it to its end.
    """

    def __init__(
        self,
        settings: Settings,
        session: Session,
        clock: Clock,
        engine: Engine | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics(session.manifest, session.engine, session.precision)
        self.decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self.model = ServedModel(settings, session, clock, self.metrics.observe_batch, engine)
        self.metrics.watch(lambda: self.model.batcher, settings.latency_target_s)
        self._draining = False
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
        self.model.check_serving()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Warms in the background and serves until left; then finishes what is queued."""
        self.model.start()
        warming = asyncio.create_task(self._warm())
        try:
            yield
        finally:
            self._draining = True
            warming.cancel()
            await asyncio.gather(warming, self.model.stop(), return_exceptions=True)
            self.decoders.shutdown(wait=False, cancel_futures=True)

    async def _warm(self) -> None:
        await self.model.warm()
        if self.model.ready and not self._draining:
            self._on_ready()
