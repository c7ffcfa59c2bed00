"""Another bundle in the place of the one that serves, checked first, without a failed request.

The new bundle is opened beside the old one, has to find its golden record, and is warmed; only then
do new requests get it, while the old model finishes what it has. A bundle that falls short of any
of this is refused and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.engines.device import Device
from export.engines.registry import open_session
from export.engines.session import DeviceFault, Session
from export.figures import Figure, first_past
from export.manifest import Flavour, Manifest
from model.errors import InputError
from service.engine.warmup import trim_heap
from service.errors import BundleRefused, Draining, NotReady, Problem, ReloadUnderWay
from service.runtime import Runtime
from service.served import ServedModel
from service.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A session that might serve, and how far it lies from its golden record."""

    session: Session
    figures: list[Figure]


@dataclass(frozen=True)
class Reloaded:
    """A swap that took place: `model` serves since, `before` did until then."""

    model: ServedModel
    before: Manifest
    parity: dict[str, Any]
    seconds: float


Opener = Callable[[Path], Candidate]
"""Opens a bundle and compares it with its record, in a thread. Raises InputError."""


def opener_of(settings: Settings) -> Opener:
    """Opens bundles as this server opened the one it started with; `auto` chooses anew."""
    flavour: Flavour = "cpu" if Device.parse(settings.device).kind == "cpu" else "tensor"

    def open_candidate(path: Path) -> Candidate:
        # Imported late: a server that is never reloaded draws no pictures.
        from export.engines.golden import golden_figures

        if path.is_file():
            raise InputError(
                f"{path}: a checkpoint has no golden record to check it by; "
                "`retinaserve export` makes a bundle, or start the server anew with it"
            )
        candidate = open_session(
            path, settings.engine, settings.device, settings.precision, settings.engine_threads
        )
        manifest, precision = candidate.manifest, candidate.precision
        record = manifest.graph_of(precision, flavour).golden
        return Candidate(
            candidate, golden_figures(candidate, record, precision, manifest.thresholds)
        )

    return open_candidate


class Reloader:
    """Swaps bundles, one at a time, on the event loop of its runtime."""

    def __init__(self, runtime: Runtime, open_candidate: Opener) -> None:
        self._runtime = runtime
        self._open = open_candidate
        self._task: asyncio.Task[Reloaded | BundleRefused] | None = None
        self.path = runtime.settings.bundle
        """Where the model that serves was opened."""
        self.swapped = asyncio.Event()
        """Set by each swap; whoever waits for the next one clears it."""

    async def reload(self, path: Path) -> Reloaded:
        """Swaps in the bundle of a folder; goes on to its end though this is cancelled.

        Raises BundleRefused, ReloadUnderWay, NotReady and Draining.
        """
        outcome = await asyncio.shield(self._begin(path))
        if isinstance(outcome, BundleRefused):
            raise outcome
        return outcome

    async def choose_again(self, manifest: Manifest) -> None:
        """Opens the bundle that serves once more, for `auto` to take another engine if it can.

        Waits for the end of a reload under way, and does nothing if another bundle than that of
        `manifest` serves by then. The log says how it went.
        """
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._runtime.model.manifest == manifest:
            with contextlib.suppress(Problem):
                await asyncio.shield(self._begin(self.path, manifest))

    def on_hangup(self) -> None:
        """SIGHUP: swaps in what lies at the configured path now; the log says how it went."""
        try:
            self._begin(self._runtime.settings.bundle)
        except Problem as problem:
            logger.warning("SIGHUP: nothing is reloaded: %s", problem.detail)

    async def close(self) -> None:
        """Gives up the reload that is under way, if one is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(
        self, path: Path, only: Manifest | None = None
    ) -> asyncio.Task[Reloaded | BundleRefused]:
        """Starts a reload; one that takes no bundle but that of `only`, where it is given."""
        if self._runtime.draining:
            raise Draining
        if self._task is not None:
            raise ReloadUnderWay
        if not self._runtime.model.warmed.is_set():
            raise NotReady("the server is still starting", self._runtime.model.warm_up_wait_s)
        self._task = asyncio.create_task(self._reload(path, only))
        self._task.add_done_callback(self._ended)
        return self._task

    def _ended(self, task: asyncio.Task[Reloaded | BundleRefused]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()):
            if isinstance(error, Problem):
                logger.warning("reload given up: %s", error.detail)
            else:
                logger.error("a reload failed", exc_info=error)

    async def _reload(self, path: Path, only: Manifest | None) -> Reloaded | BundleRefused:
        outcome = await self._swap(path, only)
        # By now nothing holds the model that goes, be it the old one or one that was refused.
        await asyncio.to_thread(give_back_memory)
        session = self._runtime.model.session
        name, version = session.manifest.name, session.manifest.version
        if isinstance(outcome, BundleRefused):
            self._runtime.metrics.reloads.labels("refused").inc()
            logger.warning("reload refused: %s; %s %s still serves", outcome.detail, name, version)
        else:
            self._runtime.metrics.reloads.labels("ok").inc()
            told = (name, version, session.precision, session.engine)
            logger.info("reloaded: %s %s (%s; %s) serves, after %.1f s", *told, outcome.seconds)
            self.swapped.set()
        return outcome

    async def _swap(self, path: Path, only: Manifest | None) -> Reloaded | BundleRefused:
        """What became of it. A refusal is returned: raised, its traceback would hold the model."""
        runtime = self._runtime
        began = runtime.clock()
        logger.info("reload: opening %s", path)
        try:
            candidate = await asyncio.to_thread(self._open, path)
        except InputError as error:
            return BundleRefused(str(error))
        except Exception as error:
            logger.exception("%s could not be opened and checked", path)
            if isinstance(error, DeviceFault):
                runtime.metrics.observe_fault(error)
                await self._check_device()
            return BundleRefused(f"{path}: the engine failed on it; the log says why")
        if only is not None and candidate.session.manifest != only:
            return BundleRefused(f"{path}: another bundle lies there than the one that serves")
        parity = parity_report(candidate.figures)
        if past := first_past(candidate.figures):
            return BundleRefused(f"{path}: not what was exported: {past}", parity)
        model = runtime.model_of(candidate.session)
        model.start()
        try:
            await model.warm()
            if not model.ready:
                if model.device_lost:
                    await self._check_device()
                detail = f"{path}: the engine failed while warming up; the log says why"
                return BundleRefused(detail, parity)
            if runtime.draining:
                raise Draining
            before, self.path = runtime.model.manifest, path
            await runtime.replace(model)
            return Reloaded(model, before, parity, runtime.clock() - began)
        finally:
            if runtime.model is not model:
                await model.stop()

    async def _check_device(self) -> None:
        """Raises EngineLost if what serves is lost together with the candidate."""
        await self._runtime.check_device()
        self._runtime.model.check_serving()


def parity_report(figures: Sequence[Figure]) -> dict[str, Any]:
    """Of each figure the worst value, with its bound if it has one; None stands for no number."""
    report: dict[str, Any] = {}
    for name in dict.fromkeys(figure.name for figure in figures):
        same = [figure for figure in figures if figure.name == name]
        worst = (min if same[0].least else max)(figure.value for figure in same)
        report[name] = {"value": worst if math.isfinite(worst) else None}
        if math.isfinite(bound := same[0].bound):
            report[name]["at_least" if same[0].least else "at_most"] = bound
    return report


def give_back_memory() -> None:
    """Returns to the system what models left behind. Call from a thread: it takes some 20 ms.

    glibc keeps freed pieces for later: without this a process grew from 319 to 390 MB over six
    swaps of the bundled model, with it to 314.
    """
    gc.collect()
    trim_heap()
