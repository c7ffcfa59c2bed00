"""All that one server holds, and its life: starting, warming, ready, draining, stopped."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

from export.engines.device import Device
from export.engines.session import DeviceFault, Session
from service.callers import Callers
from service.engine.engine import Engine
from service.errors import Draining
from service.pictures.byte_budget import ByteBudget
from service.pictures.decoding import Decoding
from service.served import ServedModel
from service.settings import Settings
from service.telemetry.gpu import open_gpu
from service.telemetry.metrics import Metrics
from service.telemetry.stages import Clock
from service.telemetry.tracing import open_tracing

logger = logging.getLogger(__name__)


class Runtime:
    """The parts of a running server; routes and middleware reach them through this.

    `model` is what new requests use. A request takes it once, with `lease`, and keeps it to its
    end, so that another model can take its place at any moment.
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
        self.callers = Callers(settings, clock)
        self.tracing = open_tracing()
        self.metrics = Metrics(session.manifest, session.engine, session.precision)
        self.uploads = ByteBudget(max(settings.max_upload_bytes, settings.max_body_bytes))
        self.decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self.decoding = Decoding(
            self.decoders, settings.max_decoded_bytes, settings.max_image_pixels
        )
        self.model = self.model_of(session, engine)
        self._leases: Counter[ServedModel] = Counter()
        self._retiring: dict[ServedModel, asyncio.Event] = {}
        """Models that were replaced but still have something to do; set when no lease is left."""
        self.metrics.watch(lambda: [m.batcher for m in self._models], settings.latency_target_s)
        self.metrics.watch_readiness(lambda: self.ready)
        if (gpu := open_gpu(settings.device)) is not None:
            self.metrics.watch_gpu(gpu)
        self._drain_began = asyncio.Event()
        self._on_ready = on_ready
        self._failed = False
        self.on_failure: Callable[[], None] = lambda: None
        """Called once by `fail`: whoever runs the process ends it."""

    @property
    def _models(self) -> list[ServedModel]:
        return [self.model, *self._retiring]

    @property
    def draining(self) -> bool:
        """Whether the server is shutting down, though it may still serve."""
        return self._drain_began.is_set()

    def begin_drain(self) -> None:
        """Has /readyz say so; requests are still served."""
        self._drain_began.set()

    async def drain_began(self) -> None:
        """Returns once the server is shutting down."""
        await self._drain_began.wait()

    @property
    def ready(self) -> bool:
        """Whether `check_ready` would let new traffic come here."""
        return self.model.ready and not self.draining

    def check_ready(self) -> None:
        """Raises NotReady, EngineLost or Draining unless new traffic should come here."""
        self.model.check_serving()
        if self.draining:
            raise Draining

    def fail(self, reason: str) -> None:
        """Answers 503 from now on and has the process end: only a new one can serve again."""
        self.model.fail()
        self.begin_drain()
        if not self._failed:
            self._failed = True
            logger.critical("%s: this process serves no more and ends, to be started anew", reason)
            self.on_failure()

    def model_of(self, session: Session, engine: Engine | None = None) -> ServedModel:
        """A model of this server around a session, neither started nor warm.

        All its faults are counted. One of the device fails the server if the model serves by then.
        """

        def on_fault(error: Exception) -> None:
            self.metrics.observe_fault(error)
            if isinstance(error, DeviceFault) and model in self._models:
                self.fail(str(error))

        model = ServedModel(
            self.settings,
            session,
            self.clock,
            self.metrics.observe_batch,
            engine,
            on_fault,
            self.tracing,
        )
        return model

    async def check_device(self) -> None:
        """Fails the server if what serves has lost its device; for when a candidate has lost its.

        A GPU may be lost to all of the process or to one engine alone, and only a run can tell.
        Models on the CPU share nothing that could be lost.
        """
        if Device.parse(self.settings.device).kind == "cpu" or self.draining:
            return
        try:
            await self.model.try_out()
        except Exception:
            # `on_fault` has been told: it has counted it, and failed the server if it had to.
            logger.exception("a run of the model that serves failed as well")

    @contextmanager
    def lease(self) -> Iterator[ServedModel]:
        """The model of this moment, which is not stopped before this is left."""
        model = self.model
        self._leases[model] += 1
        try:
            yield model
        finally:
            self._leases[model] -= 1
            if not self._leases[model]:
                del self._leases[model]
                if model in self._retiring:
                    self._retiring[model].set()

    async def replace(self, model: ServedModel) -> None:
        """Has new requests use a model that is warm; returns when the one before it has ended.

        That one finishes the requests that hold it, for `drain_timeout_s` at most.
        """
        old, self.model = self.model, model
        unused = self._retiring[old] = asyncio.Event()
        if old not in self._leases:
            unused.set()
        self.metrics.describe(model.manifest, model.session.engine, model.session.precision)
        try:
            async with asyncio.timeout(self.settings.drain_timeout_s) as patience:
                await unused.wait()
                await old.stop()
        except TimeoutError:
            if not patience.expired():
                raise
            logger.error("the model before did not finish what it had in time: it is dropped")
            old.engine.close()
        finally:
            del self._retiring[old]
            self.metrics.forget_scales(old.manifest, model.manifest)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Warms in the background and serves until left; then finishes what is queued."""
        self.model.start()
        warming = asyncio.create_task(self._warm())
        try:
            yield
        finally:
            self.begin_drain()
            warming.cancel()
            stops = [model.stop() for model in self._models]
            await asyncio.gather(warming, *stops, return_exceptions=True)
            self.decoders.shutdown(wait=False, cancel_futures=True)
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)

    async def _warm(self) -> None:
        await self.model.warm()
        if not self.model.ready:
            self.fail("the engine failed while warming up")
        elif not self.draining:
            self._on_ready()
