"""A missing TensorRT plan is built beside the server and swapped in; nothing else changes."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import retinaserve
from export.engines.tensorrt_cuda import Gpu
from export.engines.tensorrt_plans import Environment
from export.manifest import Manifest, read_bundle
from model.errors import InputError
from service import plan_builder
from service.app import create_app
from service.plan_builder import (
    MissingPlan,
    PlanBuilder,
    build_command,
    builds_plans,
    missing_plan,
    run_beside,
)
from service.reload import Candidate, Reloader
from service.settings import Settings
from tests.export.engines.fake_gpu import FakeCuda, FakeTensorRT
from tests.export.tensor_bundle import FILE, fake_tensorrt, write_bundle
from tests.service.fakes import FakeSession, HeldEngine, make_manifest, picture, settle

L4 = Environment(tensorrt="11.4.0.106", gpu="NVIDIA L4", capability="8.9", driver="13.0")
BUILT = (0, ["building m.onnx for NVIDIA L4: this takes minutes", "m.plan: built in 300 s"])
FAILED = (2, ["building m.onnx", "retinaserve build: TensorRT can't build a plan of this graph"])


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """As the server runs: its loop starts processes in a way of its own."""
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize(
    ("settings", "installed", "looks"),
    [
        ({"device": "cuda:1"}, True, True),
        ({}, True, False),
        ({"device": "cuda"}, False, False),
        ({"device": "cuda", "engine": "onnxruntime"}, True, False),
        ({"device": "cuda", "engine": "tensorrt"}, True, False),
        ({"device": "cuda", "build_plan": False}, True, False),
    ],
)
def test_plans_are_built_for_auto_on_a_gpu_unless_it_is_turned_off(
    settings: dict[str, Any], installed: bool, looks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if installed else None)
    assert builds_plans(Settings(**settings)) is looks


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRT:
    modules = ("export.cli.build", "service.plan_builder")
    return fake_tensorrt(monkeypatch, tmp_path / "plans", *modules)


@pytest.fixture
def bundle(tmp_path: Path, trt: FakeTensorRT) -> Path:
    return write_bundle(tmp_path / "bundle")


def missing(bundle: Path, **settings: Any) -> MissingPlan | None:
    given = {"engine": "auto", "device": "cuda", "max_batch_size": 4} | settings
    return missing_plan(Settings(**given), bundle, read_bundle(bundle).manifest)


def build(bundle: Path, *options: str) -> None:
    assert retinaserve.main(["build", str(bundle), *options]) == 0


def test_what_is_missing_is_a_plan_of_the_first_tensor_graph_for_this_gpu(bundle: Path) -> None:
    (graph,) = read_bundle(bundle).manifest.graphs
    assert missing(bundle) == MissingPlan(FILE, graph.sha256, L4, 4)


def test_the_command_builds_what_is_missing(bundle: Path, trt: FakeTensorRT) -> None:
    settings = Settings(engine="auto", device="cuda:0", max_batch_size=4, precision="fp16")
    command = build_command(settings, bundle)
    assert command[0] == sys.executable
    assert command[1:] == [
        retinaserve.__file__, "build", str(bundle), "--precision", "fp16",
        "--device", "cuda:0", "--max-batch", "4",
    ]  # fmt: skip
    assert retinaserve.main(command[2:]) == 0
    assert trt.builds == 1
    assert missing(bundle, precision="fp16") is None
    assert "--precision" not in build_command(Settings(), bundle)


@pytest.mark.parametrize("options", [["--refit"], ["--version-compatible"], ["--max-batch", "9"]])
def test_a_plan_that_was_built_otherwise_and_fits_is_not_missing(
    bundle: Path, options: list[str]
) -> None:
    build(bundle, *options)
    assert missing(bundle) is None


def test_a_plan_for_smaller_batches_does_not_do(bundle: Path) -> None:
    build(bundle, "--max-batch", "3")
    assert missing(bundle, max_batch_size=3) is None
    assert missing(bundle, max_batch_size=4) is not None


def test_an_altered_plan_does_not_do(bundle: Path, tmp_path: Path) -> None:
    build(bundle)
    (plan,) = (tmp_path / "plans").glob("*.plan")
    plan.write_bytes(b"altered")
    assert missing(bundle) is not None


def test_a_plan_of_another_description_does_not_do(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update that describes graphs in other words: the session would refuse it."""
    build(bundle)
    monkeypatch.setattr("service.plan_builder.facts_sha256", lambda *_: "1" * 64)
    assert missing(bundle) is not None


def test_a_plan_for_another_gpu_does_not_do(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(bundle)
    monkeypatch.setattr(FakeCuda, "gpu", lambda *_: Gpu("NVIDIA A10", "8.6", "13.0"))
    wanted = missing(bundle)
    assert wanted is not None
    assert wanted.environment.gpu == "NVIDIA A10"


def test_for_another_bundle_than_the_one_that_serves_nothing_is_built(bundle: Path) -> None:
    settings = Settings(engine="auto", device="cuda")
    with pytest.raises(InputError, match="another bundle lies there than the one that serves"):
        missing_plan(settings, bundle, make_manifest())


def test_a_checkpoint_lacks_no_plan(tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()
    assert missing_plan(Settings(), tmp_path / "best.pt", make_manifest()) is None


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.anyio
async def test_a_process_beside_gives_its_status_and_its_last_lines() -> None:
    code = "import sys\nfor n in range(50): print(n, file=sys.stderr, flush=True)\nsys.exit(3)"
    assert await run_beside(python(code)) == (3, [str(n) for n in range(40, 50)])
    killed = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert await run_beside(killed) == (-9, [])
    assert await run_beside(python("print('x' * 10_000_000)")) == (0, ["x" * 4095])


STANDS_BACK = """
import os, time
told, end = "", time.monotonic() + 60
while told != "19 1000" and time.monotonic() < end:
    told = f"{os.nice(0)} {open('/proc/self/oom_score_adj').read().strip()}"
print(told)
"""


@pytest.mark.anyio
async def test_a_process_beside_gets_cores_last_and_is_killed_first() -> None:
    assert await run_beside(python(STANDS_BACK)) == (0, ["19 1000"])


DEAF = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
part = Path(sys.argv[1] + ".part")
part.write_text(str(os.getpid()))
part.rename(sys.argv[1])
time.sleep(600)
"""


@pytest.mark.anyio
async def test_a_process_beside_is_gone_when_its_wait_is_cancelled(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    running = asyncio.create_task(run_beside([*python(DEAF), str(told)]))
    await until(told.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):  # a zombie would still be found
        os.kill(int(told.read_text()), 0)


MINE, NEWER = Path("bundles/mine"), Path("bundles/newer")
VERSIONS = {MINE: "1", NEWER: "2"}


class Onnx(FakeSession):
    engine = "onnxruntime-1"


class Trt(FakeSession):
    engine = "tensorrt-11"


@dataclass
class Plans:
    """The plans of a cache, by the version of the bundle, and how building goes.

    Builds that are `held` last until `release` is set; `error` is raised by the next look.
    """

    there: set[str] = field(default_factory=set)
    result: tuple[int, list[str]] = BUILT
    held: bool = False
    looked: list[tuple[Path, str]] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    cancelled: int = 0
    error: Exception | None = None
    opened: list[Path] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self, path: Path, manifest: Manifest) -> MissingPlan | None:
        version = manifest.version
        self.looked.append((path, version))
        if error := self.error:
            self.error = None
            raise error
        return None if version in self.there else MissingPlan("m.onnx", version * 64, L4, 2)

    def open(self, path: Path) -> Candidate:
        """What `auto` would do."""
        self.opened.append(path)
        version = VERSIONS[path]
        kind = Trt if version in self.there else Onnx
        return Candidate(kind(make_manifest(version=version)), [])

    async def run_beside(self, command: list[str]) -> tuple[int, list[str]]:
        version = VERSIONS[Path(command[1])]
        self.built.append(version)
        self.begun.set()
        try:
            if self.held:
                await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.result == BUILT:
            self.there.add(version)
        return self.result


Server = Callable[..., Any]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    @asynccontextmanager
    async def started(
        plans: Plans, engine: Any = None
    ) -> AsyncIterator[tuple[FastAPI, Reloader, httpx.AsyncClient]]:
        monkeypatch.setattr(plan_builder, "run_beside", plans.run_beside)
        given = {"bundle": MINE, "decode_threads": 1, "engine_threads": 1, "max_batch_size": 1}
        app = create_app(Settings(**given), Onnx(), engine=engine)
        runtime = app.state.runtime
        reloader = Reloader(runtime, plans.open)
        builder = PlanBuilder(runtime, reloader, plans.look, lambda path: ["build", str(path)])
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://server") as client,
        ):
            building = asyncio.create_task(builder.run())
            yield app, reloader, client
            building.cancel()
            await asyncio.gather(building, return_exceptions=True)
            await reloader.close()

    return started


async def engine_of(client: httpx.AsyncClient) -> str:
    (model,) = (await client.get("/v1/models")).json()["models"]
    return str(model["engine"])


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.001)


@pytest.mark.anyio
async def test_a_missing_plan_is_built_while_the_server_serves_and_then_taken(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plans = Plans(held=True)
    async with server(plans) as (_, _, client):
        await plans.begun.wait()
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/v1/detect", content=picture())).status_code == 200
        assert await engine_of(client) == "onnxruntime-1"
        plans.release.set()
        await until(lambda: len(plans.looked) == 2)  # once more after the swap: nothing is missing
        assert await engine_of(client) == "tensorrt-11"
        assert (await client.post("/v1/detect", content=picture())).status_code == 200
    assert (plans.built, plans.opened) == (["1"], [MINE])
    told = [text for text in caplog.messages if "plan" in text]
    assert told == [
        "no TensorRT plan of m.onnx fits this NVIDIA L4: building it, while onnxruntime-1 serves",
        "TensorRT plan: m.plan: built in 300 s",
    ]
    assert any(text.startswith("reloaded: cells 1 (fp32; tensorrt-11)") for text in caplog.messages)


@pytest.mark.anyio
async def test_nothing_is_looked_for_before_all_is_warm(server: Server) -> None:
    plans, engine = Plans(), HeldEngine()
    async with server(plans, engine) as (app, _, _):
        await engine.begun.wait()
        await settle(50)
        assert plans.looked == []
        engine.release_all()
        await app.state.runtime.model.warmed.wait()
        await until(lambda: len(plans.looked) > 0)


@pytest.mark.anyio
async def test_where_nothing_is_missing_nothing_is_built_or_swapped(server: Server) -> None:
    plans = Plans(there={"1"})
    async with server(plans) as (_, reloader, _):
        await until(lambda: len(plans.looked) == 1)
        await settle(50)
        assert not reloader.swapped.is_set()
    assert (plans.built, plans.opened) == ([], [])


@pytest.mark.anyio
async def test_a_build_that_fails_is_told_and_not_tried_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    plans = Plans(result=FAILED)
    async with server(plans) as (_, reloader, client):
        await until(lambda: any("failed" in text for text in caplog.messages))
        await reloader.reload(MINE)
        await until(lambda: len(plans.looked) == 2)
        await settle(50)
        assert len(plans.built) == 1
        assert await engine_of(client) == "onnxruntime-1"
        assert (await client.get("/readyz")).status_code == 200
    assert caplog.messages == [
        "building a TensorRT plan failed with status 2, and is not tried again: building m.onnx\n"
        "retinaserve build: TensorRT can't build a plan of this graph"
    ]


@pytest.mark.anyio
async def test_after_a_reload_the_plan_of_the_new_bundle_is_built(server: Server) -> None:
    plans = Plans(there={"1"})
    async with server(plans) as (_, reloader, client):
        await until(lambda: len(plans.looked) == 1)
        await reloader.reload(NEWER)
        await until(lambda: len(plans.looked) == 3)
        assert await engine_of(client) == "tensorrt-11"
    assert plans.looked == [(MINE, "1"), (NEWER, "2"), (NEWER, "2")]
    assert (plans.built, plans.opened) == (["2"], [NEWER, NEWER])


@pytest.mark.anyio
async def test_a_bundle_that_takes_over_meanwhile_stays_and_its_plan_is_built_next(
    server: Server,
) -> None:
    plans = Plans(held=True)
    async with server(plans) as (app, reloader, client):
        await plans.begun.wait()
        await reloader.reload(NEWER)
        assert app.state.runtime.ready
        plans.release.set()
        await until(lambda: len(plans.looked) == 3)
        assert await engine_of(client) == "tensorrt-11"
        assert app.state.runtime.model.manifest.version == "2"
    assert plans.looked == [(MINE, "1"), (NEWER, "2"), (NEWER, "2")]
    assert (plans.built, plans.opened) == (["1", "2"], [NEWER, NEWER])


@pytest.mark.anyio
async def test_each_bundles_plan_is_tried_once(server: Server) -> None:
    plans = Plans(result=(-9, []))
    async with server(plans) as (_, reloader, _):
        await until(lambda: len(plans.looked) == 1)
        await reloader.reload(NEWER)
        await until(lambda: len(plans.looked) == 2)
        await reloader.reload(MINE)
        await until(lambda: len(plans.looked) == 3)
        await settle(50)
    assert plans.built == ["1", "2"]


@pytest.mark.anyio
async def test_a_drain_ends_the_build(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    plans = Plans(held=True)
    async with server(plans) as (app, _, client):
        await plans.begun.wait()
        app.state.runtime.begin_drain()
        await until(lambda: plans.cancelled == 1)
        assert (await client.post("/v1/detect", content=picture())).status_code == 200
    assert plans.opened == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("no GPU"), "no TensorRT plan is built: no GPU"),
        (RuntimeError("a bug"), "building a TensorRT plan failed"),
    ],
)
async def test_what_goes_wrong_is_told_and_looked_at_again_after_the_next_swap(
    server: Server, caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    plans = Plans(error=error)
    async with server(plans) as (_, reloader, client):
        await until(lambda: told in caplog.messages)
        assert (await client.get("/readyz")).status_code == 200
        await reloader.reload(MINE)
        await until(lambda: len(plans.looked) == 3)
        assert await engine_of(client) == "tensorrt-11"
