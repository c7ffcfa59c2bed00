"""Another bundle takes over without a failed request, or is refused and changes nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from export.engines.session import Detections, DeviceFault
from export.figures import Figure
from model.errors import InputError
from service.app import create_app
from service.detections import Options
from service.detector import Found, detect
from service.errors import BundleRefused, Draining, EngineLost, NotReady, ReloadUnderWay
from service.reload import Candidate, Reloader, parity_report
from service.runtime import Runtime
from service.scheduling.schedule import Entry
from service.served import ServedModel
from service.settings import Settings
from service.telemetry.stages import StageClock
from tests.service.fakes import FakeSession, HeldEngine, make_manifest, picture, settle

pytestmark = pytest.mark.anyio

PNG = picture()
NEW = Path("bundles/new")
FINE = [Figure("golden record", "worst_box_px", 0.01, 0.05)]


@dataclass
class Bundles:
    """What opening the next bundle gives; counts nothing and remembers each path."""

    session: FakeSession = field(default_factory=lambda: FakeSession(make_manifest(version="2")))
    figures: list[Figure] = field(default_factory=lambda: list(FINE))
    error: Exception | None = None
    paths: list[Path] = field(default_factory=list)
    gate: threading.Event | None = None

    def open(self, path: Path) -> Candidate:
        self.paths.append(path)
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return Candidate(self.session, self.figures)


@asynccontextmanager
async def server(
    bundles: Bundles, engine: Any = None, **settings: Any
) -> AsyncIterator[tuple[FastAPI, Reloader, httpx.AsyncClient]]:
    given = {"decode_threads": 1, "engine_threads": 1, "max_batch_size": 1} | settings
    app = create_app(Settings(**given), FakeSession(), engine=engine)
    reloader = Reloader(app.state.runtime, bundles.open)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://server") as client,
    ):
        await app.state.runtime.model.warmed.wait()
        yield app, reloader, client
        await reloader.close()


async def version_of(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/detect", content=PNG)
    assert answer.status_code == 200
    return str(answer.json()["model"]["version"])


async def detected_by(model: ServedModel, runtime: Runtime) -> Found:
    options = Options.default(model.manifest)
    return await detect(runtime, model, PNG, options, StageClock(runtime.clock), None)


async def samples(client: httpx.AsyncClient, name: str) -> dict[str, float]:
    lines = (await client.get("/metrics")).text.splitlines()
    rows = [line.rsplit(" ", 1) for line in lines if line.startswith(f"retinaserve_{name}")]
    return {key: float(value) for key, value in rows}


async def test_a_good_bundle_takes_over():
    bundles = Bundles()
    async with server(bundles) as (_, reloader, client):
        assert await version_of(client) == "1"
        reloaded = await reloader.reload(NEW)
        assert await version_of(client) == "2"
        models = (await client.get("/v1/models")).json()["models"]
        info = await samples(client, "model_info")
        counts = await samples(client, "reloads_total")
    assert bundles.paths == [NEW]
    assert (reloaded.before.version, reloaded.model.manifest.version) == ("1", "2")
    assert reloaded.parity == {"worst_box_px": {"value": 0.01, "at_most": 0.05}}
    assert [model["version"] for model in models] == ["2"]
    assert info == {
        'retinaserve_model_info{engine="fake-1",name="cells",precision="fp32",version="2"}': 1.0
    }
    assert counts == {
        'retinaserve_reloads_total{result="ok"}': 1.0,
        'retinaserve_reloads_total{result="refused"}': 0.0,
    }


async def test_every_shape_has_run_before_the_new_model_serves():
    bundles = Bundles()
    async with server(bundles, max_batch_size=2) as (_, reloader, client):
        await reloader.reload(NEW)
        warmed = [shape[:3] for shape, *_ in bundles.session.runs]
        assert await version_of(client) == "2"
        unseen = await samples(client, "unseen_shapes_total")
    assert warmed == [
        (1, 64, 96), (2, 64, 96), (1, 128, 160), (2, 128, 160), (1, 160, 128), (2, 160, 128),
    ]  # fmt: skip
    assert unseen == {"retinaserve_unseen_shapes_total": 0.0}


def failing(images: Any) -> None:
    raise RuntimeError("this graph does not run")


def losing(images: Any) -> None:
    raise DeviceFault("the GPU is lost to this process")


def hanging(images: Any) -> None:
    LONG_ENOUGH.wait(60)


LONG_ENOUGH = threading.Event()
"""Set when a test that hangs is over."""


class IdleEngine(HeldEngine):
    """Answers at once, so that it can't be late, or raises its `error`."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.error: Exception | None = None

    async def run(self, batch: Sequence[Entry]) -> list[Detections]:
        if self.error is not None:
            raise self.error
        return await super().run(batch)


async def fault_counts(client: httpx.AsyncClient) -> dict[str, float]:
    rows = await samples(client, "engine_faults_total")
    return {key.split('"')[1]: value for key, value in rows.items() if value}


@pytest.mark.parametrize(
    ("bundles", "detail", "parity", "faults"),
    [
        (Bundles(error=InputError("m.onnx: the file was altered")), "m.onnx: the file was", {}, {}),
        (Bundles(error=RuntimeError("secret")), "bundles/new: the engine failed on it", {}, {}),
        (
            Bundles(error=DeviceFault("secret")),
            "bundles/new: the engine failed on it",
            {},
            {"device_fault": 1.0},
        ),
        (
            Bundles(figures=[*FINE, Figure("golden record", "worst_box_px", 7.5, 0.05)]),
            "bundles/new: not what was exported: worst_box_px of the golden record is 7.5, "
            "the bound is 0.05",
            {"worst_box_px": {"value": 7.5, "at_most": 0.05}},
            {},
        ),
        (
            Bundles(session=FakeSession(make_manifest(version="2"), failing)),
            "bundles/new: the engine failed while warming up",
            {"worst_box_px": {"value": 0.01, "at_most": 0.05}},
            {"run_failed": 1.0},
        ),
        (
            Bundles(session=FakeSession(make_manifest(version="2"), losing)),
            "bundles/new: the engine failed while warming up",
            {"worst_box_px": {"value": 0.01, "at_most": 0.05}},
            {"device_fault": 1.0},
        ),
        (
            Bundles(session=FakeSession(make_manifest(version="2"), hanging)),
            "bundles/new: the engine failed while warming up",
            {"worst_box_px": {"value": 0.01, "at_most": 0.05}},
            {"hung": 1.0},
        ),
    ],
    ids=[
        "bad files", "a library's error", "loses its device on the record", "past its bounds",
        "does not run", "loses its device", "hangs",
    ],
)  # fmt: skip
async def test_a_bad_bundle_is_refused_and_the_old_one_stays(
    bundles, detail, parity, faults, caplog
):
    asked: list[str] = []
    LONG_ENOUGH.clear()
    # The first run of a shape may take 20 times as long.
    timeout_s = 0.01 if "hung" in faults else 30.0
    engine = IdleEngine()
    async with server(bundles, engine, engine_timeout_s=timeout_s) as (app, reloader, client):
        app.state.runtime.on_failure = lambda: asked.append("end")
        with pytest.raises(BundleRefused) as refusal:
            await reloader.reload(NEW)
        LONG_ENOUGH.set()
        assert await version_of(client) == "1"
        assert (await client.get("/readyz")).status_code == 200
        counts = await samples(client, "reloads_total")
        assert await fault_counts(client) == faults
        assert app.state.runtime.draining is False
    assert asked == []
    assert refusal.value.detail.startswith(detail)
    assert "secret" not in refusal.value.detail
    assert refusal.value.body("/admin/reload", "id")["parity"] == parity
    assert counts['retinaserve_reloads_total{result="refused"}'] == 1.0
    assert f"reload refused: {refusal.value.detail}; cells 1 still serves" in caplog.messages


@pytest.mark.parametrize(
    "bundles",
    [
        Bundles(session=FakeSession(make_manifest(version="2"), losing)),
        Bundles(error=DeviceFault("on the golden record")),
    ],
    ids=["warming up", "on the record"],
)
async def test_a_gpu_that_only_the_candidate_lost_is_run_once_more_and_serves_on(bundles):
    engine = IdleEngine()
    async with server(bundles, engine, device="cuda:0") as (app, reloader, client):
        engine.batches.clear()
        with pytest.raises(BundleRefused):
            await reloader.reload(NEW)
        (run,) = engine.batches
        assert [entry.key.canvas for entry in run] == [(64, 96)]
        assert await version_of(client) == "1"
        assert app.state.runtime.ready
        assert await fault_counts(client) == {"device_fault": 1.0}


async def test_a_gpu_that_the_candidate_lost_to_the_process_ends_it(caplog):
    asked: list[str] = []
    engine = IdleEngine()
    bundles = Bundles(session=FakeSession(make_manifest(version="2"), losing))
    async with server(bundles, engine, device="cuda:0") as (app, reloader, client):
        app.state.runtime.on_failure = lambda: asked.append("end")
        engine.error = DeviceFault("the GPU is lost to this process")
        with pytest.raises(EngineLost):
            await reloader.reload(NEW)
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "engine_lost")
        assert await fault_counts(client) == {"device_fault": 2.0}
    assert asked == ["end"]
    assert "reload given up: the engine does not run; the log says why" in caplog.messages
    assert not any("still serves" in text for text in caplog.messages)


async def test_once_it_serves_a_new_model_that_loses_its_device_ends_the_process():
    asked: list[str] = []
    bundles = Bundles()
    async with server(bundles) as (app, reloader, client):
        app.state.runtime.on_failure = lambda: asked.append("end")
        await reloader.reload(NEW)
        bundles.session.on_run = losing
        answer = await client.post("/v1/detect", content=PNG)
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_lost")
        assert (await client.get("/readyz")).status_code == 503
    assert asked == ["end"]


async def test_what_the_old_model_has_is_finished_by_it_and_new_requests_get_the_new_one():
    engine = HeldEngine()
    engine.hold = False
    async with server(Bundles(), engine) as (app, reloader, client):
        engine.hold = True
        old = app.state.runtime.model
        running, queued = (
            asyncio.create_task(client.post("/v1/detect", content=PNG)) for _ in range(2)
        )
        await engine.begun.wait()
        while not old.batcher.queued:  # noqa: ASYNC110 - the decode thread sets no event
            await asyncio.sleep(0.001)
        reloading = asyncio.create_task(reloader.reload(NEW))
        while app.state.runtime.model is old:  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.001)
        assert await version_of(client) == "2"
        assert (await client.get("/readyz")).status_code == 200
        gauges = await samples(client, "queue_depth") | await samples(client, "inflight_batches")
        assert not reloading.done()
        engine.release_all()
        answers = await asyncio.gather(running, queued)
        await reloading
        after = await samples(client, "queue_depth") | await samples(client, "inflight_batches")
        assert engine.closed
    assert gauges == {"retinaserve_queue_depth": 1.0, "retinaserve_inflight_batches": 1.0}
    assert after == {"retinaserve_queue_depth": 0.0, "retinaserve_inflight_batches": 0.0}
    assert [(a.status_code, a.json()["model"]["version"]) for a in answers] == [(200, "1")] * 2


async def test_a_request_that_holds_the_old_model_is_still_admitted_by_it():
    async with server(Bundles()) as (app, reloader, _):
        runtime = app.state.runtime
        with runtime.lease() as old:
            reloading = asyncio.create_task(reloader.reload(NEW))
            while runtime.model is old:  # noqa: ASYNC110 - threads set no event
                await asyncio.sleep(0.001)
            await settle()
            assert len((await detected_by(old, runtime)).detections) == 3
            assert not reloading.done()
        await reloading
        with pytest.raises(Draining):
            await detected_by(old, runtime)


async def test_an_old_model_that_does_not_finish_is_dropped_in_the_end(caplog):
    async with server(Bundles(), drain_timeout_s=0.05) as (app, reloader, client):
        with app.state.runtime.lease():
            await reloader.reload(NEW)
        assert await version_of(client) == "2"
    assert "the model before did not finish what it had in time: it is dropped" in caplog.messages


async def test_options_that_do_not_fit_the_new_model_are_malformed():
    session = FakeSession(
        make_manifest(version="2", classes=["bus"], canvases={96: ["96x96"]}, default_scale=96)
    )
    async with server(Bundles(session)) as (_, reloader, client):
        before = await client.post("/v1/detect?scale=128&classes=RBC", content=PNG)
        await reloader.reload(NEW)
        scale = await client.post("/v1/detect?scale=128", content=PNG)
        classes = await client.post("/v1/detect?classes=RBC", content=PNG)
        scales = await samples(client, "scale_total")
    assert before.status_code == 200
    assert (scale.status_code, classes.status_code) == (400, 400)
    assert scale.json()["detail"] == "scale is 128; accepted are this bundle's: 96"
    assert classes.json()["detail"] == "classes: 'RBC' is not one; accepted are bus (0)"
    assert scales == {'retinaserve_scale_total{scale="96"}': 0.0}


async def test_options_are_checked_against_the_model_that_answers():
    """The model is swapped while the body is on its way."""
    session = FakeSession(make_manifest(version="2", canvases={96: ["96x96"]}, default_scale=96))
    arrived, sent = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield PNG[:50]
        arrived.set()
        await sent.wait()
        yield PNG[50:]

    async with server(Bundles(session)) as (_, reloader, client):
        post = asyncio.create_task(client.post("/v1/detect?scale=128", content=body()))
        await arrived.wait()
        await reloader.reload(NEW)
        sent.set()
        answer = await post
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_one_reload_at_a_time():
    bundles = Bundles(gate=threading.Event())
    async with server(bundles) as (_, reloader, client):
        first = asyncio.create_task(reloader.reload(NEW))
        await settle()
        with pytest.raises(ReloadUnderWay):
            await reloader.reload(NEW)
        assert bundles.gate is not None
        bundles.gate.set()
        await first
        assert await version_of(client) == "2"
        bundles.session = FakeSession(make_manifest(version="3"))
        await reloader.reload(NEW)
        assert await version_of(client) == "3"


async def test_a_reload_goes_on_when_its_caller_leaves():
    bundles = Bundles(gate=threading.Event())
    async with server(bundles) as (app, reloader, _):
        old = app.state.runtime.model
        caller = asyncio.create_task(reloader.reload(NEW))
        await settle()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert bundles.gate is not None
        bundles.gate.set()
        while app.state.runtime.model is old:  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.001)


async def test_sighup_reloads_the_configured_path_and_logs_how_it_went(caplog):
    caplog.set_level(logging.INFO)
    bundles = Bundles(gate=threading.Event())
    async with server(bundles, bundle=Path("bundles/mine")) as (app, reloader, client):
        old = app.state.runtime.model
        reloader.on_hangup()
        reloader.on_hangup()
        assert bundles.gate is not None
        bundles.gate.set()
        while app.state.runtime.model is old:  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.001)
        assert await version_of(client) == "2"
        told = "reloaded: cells 2 (fp32; fake-1) serves, after "
        while not any(text.startswith(told) for text in caplog.messages):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert bundles.paths == [Path("bundles/mine")]
    told = "SIGHUP: nothing is reloaded: a reload is under way: wait for its end"
    assert told in caplog.messages


class OtherEngine(FakeSession):
    engine = "fake-2"


async def test_the_engine_is_chosen_again_for_what_serves_wherever_it_came_from():
    bundles = Bundles()
    async with server(bundles, bundle=Path("bundles/mine")) as (app, reloader, client):
        await reloader.reload(NEW)
        bundles.session = OtherEngine(make_manifest(version="2"))
        reloader.swapped.clear()
        await reloader.choose_again(make_manifest(version="2"))
        (model,) = (await client.get("/v1/models")).json()["models"]
        assert reloader.swapped.is_set()
        assert app.state.runtime.ready
    assert bundles.paths == [NEW, NEW]
    assert (model["version"], model["engine"]) == ("2", "fake-2")


async def test_choosing_again_takes_no_other_bundle(caplog):
    bundles = Bundles()  # of version 2, put where that of version 1 lay
    async with server(bundles, bundle=NEW) as (_, reloader, client):
        await reloader.choose_again(make_manifest())
        assert await version_of(client) == "1"
        assert not reloader.swapped.is_set()
    told = "bundles/new: another bundle lies there than the one that serves; cells 1 still serves"
    assert f"reload refused: {told}" in caplog.messages


@pytest.mark.parametrize(("version", "opened"), [("1", 1), ("2", 2)])
async def test_choosing_again_waits_for_a_reload_and_minds_what_serves_then(version, opened):
    bundles = Bundles(gate=threading.Event())
    async with server(bundles) as (_, reloader, client):
        first = asyncio.create_task(reloader.reload(NEW))
        await settle()
        again = asyncio.create_task(reloader.choose_again(make_manifest(version=version)))
        await settle()
        assert len(bundles.paths) == 1
        assert bundles.gate is not None
        bundles.gate.set()
        await first
        await again
        assert await version_of(client) == "2"
    assert bundles.paths == [NEW] * opened


async def test_a_draining_server_chooses_no_engine():
    bundles = Bundles()
    async with server(bundles) as (app, reloader, _):
        app.state.runtime.begin_drain()
        await reloader.choose_again(make_manifest())
    assert bundles.paths == []


async def test_a_draining_server_reloads_nothing():
    async with server(Bundles()) as (app, reloader, _):
        app.state.runtime.begin_drain()
        with pytest.raises(Draining):
            await reloader.reload(NEW)


async def test_a_drain_that_begins_meanwhile_ends_the_reload(caplog):
    bundles = Bundles(gate=threading.Event())
    async with server(bundles) as (app, reloader, client):
        reloading = asyncio.create_task(reloader.reload(NEW))
        await settle()
        app.state.runtime.begin_drain()
        assert bundles.gate is not None
        bundles.gate.set()
        with pytest.raises(Draining):
            await reloading
        assert await version_of(client) == "1"
    assert "reload given up: the server is shutting down" in caplog.messages


async def test_a_server_that_still_starts_reloads_nothing():
    engine = HeldEngine()
    app = create_app(Settings(max_batch_size=1, decode_threads=1), FakeSession(), engine=engine)
    async with app.router.lifespan_context(app):
        with pytest.raises(NotReady):
            await Reloader(app.state.runtime, Bundles().open).reload(NEW)
        engine.release_all()


@pytest.mark.parametrize("figures", [FINE, [Figure("golden record", "mean_iou", 0.1, 0.9, True)]])
async def test_nothing_holds_the_model_that_went(figures):
    """Else its memory would stay: the old one's after a swap, a refused one's after that."""
    bundles = Bundles(figures=figures)
    async with server(bundles) as (app, reloader, client):
        assert await version_of(client) == "1"
        gone = weakref.ref(app.state.runtime.model.session if figures is FINE else bundles.session)
        try:
            await reloader.reload(NEW)
        except BundleRefused:
            bundles.session = FakeSession()
        await settle()
        gc.collect()
        assert gone() is None


def test_parity_report_has_the_worst_of_each_figure_and_its_bound():
    figures = [
        Figure("golden record", "matched_share", 0.97, 0.9, least=True),
        Figure("golden record", "worst_box_px", 3.0, float("inf")),
        Figure("golden record", "matched_share", 0.95, 0.9, least=True),
        Figure("golden record", "worst_box_px", 4.0, float("inf")),
        Figure("golden record", "mean_iou", float("nan"), 0.5, least=True),
    ]
    assert parity_report(figures) == {
        "matched_share": {"value": 0.95, "at_least": 0.9},
        "worst_box_px": {"value": 4.0},
        "mean_iou": {"value": None, "at_least": 0.5},
    }
