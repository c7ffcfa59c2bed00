"""The TensorRT plan that a bundle lacks on this GPU: built beside the server, then swapped in.

Building takes minutes, much memory and another's code, so a process of its own does it:
`retinaserve build`, which a server that goes on serving can lose without harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from export.engines.device import Device
from export.engines.registry import ENGINES
from export.engines.tensorrt_api import load_tensorrt
from export.engines.tensorrt_cuda import open_cuda
from export.engines.tensorrt_plans import Environment, facts_sha256, find_plan, plan_folder
from export.manifest import BundleError, Manifest, read_bundle
from model.errors import InputError
from service.reload import Reloader
from service.runtime import Runtime
from service.settings import Settings

logger = logging.getLogger(__name__)

COMMAND = Path(__file__).parents[1] / "retinaserve.py"
"""Run by its path: with `-m`, a folder `model` where the server was started would hide ours."""

LEAST_PRIORITY = 19
FIRST_TO_KILL = 1000
"""Of a process in /proc/PID/oom_score_adj: when memory runs out, the kernel ends this one."""

TAIL_LINES = 10
TAIL_BYTES = 4096
"""What is kept of the words of a build."""

KILL_PATIENCE_S = 5.0
"""How long a killed process may hang in its driver before the server ends without it."""


@dataclass(frozen=True)
class MissingPlan:
    """What a plan that is not there would be built of, for and how; equal ones are one file."""

    graph: str
    graph_sha256: str
    environment: Environment
    max_batch: int


def builds_plans(settings: Settings) -> bool:
    """Whether a server with these settings looks for a missing plan at all."""
    return (
        settings.build_plan
        and settings.engine == "auto"
        and Device.parse(settings.device).kind == "cuda"
        and importlib.util.find_spec(ENGINES["tensorrt"].package) is not None
    )


def missing_plan(settings: Settings, path: Path, manifest: Manifest) -> MissingPlan | None:
    """The plan without which TensorRT can't serve the bundle of a folder as the settings ask.

    None if it is there, or if the path is that of a checkpoint. `manifest` is the one that serves.
    Raises InputError where TensorRT or the GPU can't be used, or another bundle lies there by now.
    """
    if path.is_file():
        return None
    bundle = read_bundle(path)
    if bundle.manifest != manifest:
        raise InputError(f"{path}: another bundle lies there than the one that serves")
    graph = manifest.graph_of(settings.precision, "tensor")
    device = Device.parse(settings.device)
    here = Environment.here(load_tensorrt().__version__, open_cuda(device).gpu(device.index))
    with contextlib.suppress(BundleError):
        plan = find_plan(plan_folder(), graph, here)
        if (
            plan.facts.facts_sha256 == facts_sha256(manifest, graph)
            and plan.facts.rule.max_batch >= settings.max_batch_size
            and plan.is_whole()
        ):
            return None
    return MissingPlan(graph.file, graph.sha256, here, settings.max_batch_size)


def build_command(settings: Settings, path: Path) -> list[str]:
    """The command that builds the plan of a bundle's folder as `missing_plan` wants it."""
    precision = [] if settings.precision is None else ["--precision", settings.precision]
    return [
        sys.executable, str(COMMAND), "build", str(path.absolute()), *precision,
        "--device", settings.device, "--max-batch", str(settings.max_batch_size),
    ]  # fmt: skip


class PlanBuilder:
    """Builds the plan that what serves lacks, then has `auto` choose again; one plan at a time.

    A plan whose build has ended, well or not, is not tried again. `missing` says what a bundle
    lacks, in a thread, and `command` how it is built; see `missing_plan` and `build_command`.
    """

    def __init__(
        self,
        runtime: Runtime,
        reloader: Reloader,
        missing: Callable[[Path, Manifest], MissingPlan | None],
        command: Callable[[Path], list[str]],
    ) -> None:
        self._runtime, self._reloader = runtime, reloader
        self._missing, self._command = missing, command
        self._tried: set[MissingPlan] = set()

    async def run(self) -> None:
        """Looks after the warm-up and each swap, until the server drains; ends what it began."""
        working = asyncio.create_task(self._work())
        try:
            await self._runtime.drain_began()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _work(self) -> None:
        await self._runtime.model.warmed.wait()
        while True:
            self._reloader.swapped.clear()
            try:
                await self._provide()
            except InputError as error:
                logger.warning("no TensorRT plan is built: %s", error)
            except Exception:
                logger.exception("building a TensorRT plan failed")
            await self._reloader.swapped.wait()

    async def _provide(self) -> None:
        """Builds what is missing now, if anything, and swaps it in."""
        path, manifest = self._reloader.path, self._runtime.model.manifest
        missing = await asyncio.to_thread(self._missing, path, manifest)
        if missing is None or missing in self._tried:
            return
        engine = self._runtime.model.session.engine
        told = (missing.graph, missing.environment.gpu, engine)
        logger.info("no TensorRT plan of %s fits this %s: building it, while %s serves", *told)
        status, lines = await run_beside(self._command(path))
        self._tried.add(missing)
        if status:
            logger.warning(
                "building a TensorRT plan failed with status %d, and is not tried again: %s",
                status,
                "\n".join(lines) or "it said nothing",
            )
            return
        logger.info("TensorRT plan: %s", lines[-1] if lines else missing.graph)
        await self._reloader.choose_again(manifest)


async def run_beside(command: list[str]) -> tuple[int, list[str]]:
    """Runs a command that stands back for this process; its exit status and last lines.

    Cancelled, it leaves no process behind.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        _stand_back(process.pid)
        assert process.stdout is not None
        tail = b""
        while part := await process.stdout.read(TAIL_BYTES):
            tail = (tail + part)[-TAIL_BYTES:]
        status = await process.wait()
        return status, tail.decode(errors="replace").splitlines()[-TAIL_LINES:]
    finally:
        await _ended(process)


def _stand_back(pid: int) -> None:
    """Has the kernel prefer all others to a process: they get cores first, it is killed first."""
    with contextlib.suppress(OSError):  # it has ended already
        os.setpriority(os.PRIO_PROCESS, pid, LEAST_PRIORITY)
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(FIRST_TO_KILL), encoding="ascii")


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Kills a process that still runs, which loses nothing: plans are written whole or not."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    try:
        async with asyncio.timeout(KILL_PATIENCE_S):
            await process.wait()
    except TimeoutError:
        logger.error("process %d, which builds a TensorRT plan, does not end", process.pid)


@asynccontextmanager
async def plans_built(runtime: Runtime, reloader: Reloader) -> AsyncIterator[None]:
    """Has missing plans built until left, where the settings say so."""
    settings = runtime.settings
    if not builds_plans(settings):
        yield
        return
    builder = PlanBuilder(
        runtime,
        reloader,
        lambda path, manifest: missing_plan(settings, path, manifest),
        lambda path: build_command(settings, path),
    )
    building = asyncio.create_task(builder.run())
    try:
        yield
    finally:
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
