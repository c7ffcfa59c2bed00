"""POST /admin/reload, and which bundles it takes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from export.engines.registry import open_session
from export.figures import first_past
from export.manifest import Bundle
from model.errors import InputError
from service.admin import admin_socket, administered, create_admin_app
from service.app import create_app
from service.cli.serve import application
from service.reload import Opener, Reloader, opener_of
from service.settings import Settings
from tests.service.bundles import (
    as_version,
    tampered,
    with_golden,
    with_record,
    write_known_bundle,
)
from tests.service.fakes import FakeSession, picture

pytestmark = pytest.mark.anyio

PNG = picture()
OTHER = {"scores": [0.9], "boxes": [(1.0, 2.0, 9.0, 9.0)], "classes": [0]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return with_record(write_known_bundle(tmp_path_factory.mktemp("bundle")))


@asynccontextmanager
async def admin_of(settings: Settings, session: Any, opener: Opener) -> AsyncIterator[Any]:
    """(client of the admin port, client of the service)"""
    app = create_app(settings, session)
    runtime = app.state.runtime
    reloader = Reloader(runtime, opener)
    admin = httpx.ASGITransport(create_admin_app(runtime, reloader))
    service = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=admin, base_url="http://admin") as admin_client,
        httpx.AsyncClient(transport=service, base_url="http://server") as client,
    ):
        await runtime.model.warmed.wait()
        yield admin_client, client
        await reloader.close()


def settings_of(bundle: Bundle, **given: Any) -> Settings:
    return Settings(
        bundle=bundle.folder, decode_threads=1, engine_threads=1, max_batch_size=1, **given
    )


def unopened(path: Path) -> Any:
    raise AssertionError(f"{path} must not be opened")


async def test_a_bundle_is_swapped_in_with_its_parity(bundle, tmp_path):
    settings = settings_of(bundle)
    session = open_session(bundle.folder, threads=1)
    newer = as_version(bundle, tmp_path / "newer", "2")
    async with admin_of(settings, session, opener_of(settings)) as (admin, client):
        answer = await admin.post("/admin/reload", json={"bundle": str(newer)})
        served = (await client.get("/v1/models")).json()["models"][0]
        metrics = (await client.get("/metrics")).text
    told = answer.json()
    assert answer.status_code == 200
    assert told["model"] == {"name": "known", "version": "2"}
    assert told["replaced"] == {"name": "known", "version": "3"}
    assert (told["engine"], told["precision"]) == (session.engine, "int8")
    assert told["parity"]["matched_share"] == {"value": 1.0, "at_least": 0.25}
    assert told["parity"]["worst_box_px"] == {"value": 0.0}
    assert served["version"] == "2"
    assert 'requests_total{outcome="ok",route="/admin/reload"} 1.0' in metrics


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (tampered, "the file was altered; export the bundle again"),
        (lambda source, folder: folder, "no bundle here; a bundle is a folder with manifest.json"),
        (with_golden, "the bundle has no golden record: it is of an older export"),
        (
            lambda source, folder: with_golden(source, folder, **OTHER),
            "not what was exported: matched_share of the golden record is",
        ),
    ],
    ids=["tampered", "missing", "no record", "other boxes"],
)
async def test_a_bad_bundle_is_a_409_and_the_old_one_serves(bundle, tmp_path, spoil, sentence):
    settings = settings_of(bundle)
    session = open_session(bundle.folder, threads=1)
    bad = spoil(bundle, tmp_path / "bad")
    async with admin_of(settings, session, opener_of(settings)) as (admin, client):
        answer = await admin.post("/admin/reload", json={"bundle": str(bad)})
        ready = await client.get("/readyz")
        detect = await client.post("/v1/detect", content=PNG)
    assert (answer.status_code, answer.json()["code"]) == (409, "bundle_refused")
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]
    assert (ready.status_code, detect.status_code) == (200, 200)


def test_a_bundle_is_opened_as_the_first_one_was(bundle, tmp_path):
    settings = settings_of(bundle, precision="fp32")
    opener = opener_of(settings)
    candidate = opener(bundle.folder)
    assert candidate.session.precision == "fp32"
    assert first_past(candidate.figures) is None
    int8_alone = bundle.manifest.model_copy(update={"graphs": bundle.manifest.graphs[:1]})
    alone = as_version(Bundle(bundle.folder, int8_alone), tmp_path / "alone", "4")
    with pytest.raises(InputError, match="has no fp32 cpu graph; it holds int8 cpu"):
        opener(alone)


async def test_the_command_does_not_hold_the_model_that_it_started_with(bundle, tmp_path):
    app, opener = application(settings_of(bundle), "http://server")
    runtime = app.state.runtime
    first = weakref.ref(runtime.model.session)
    reloader = Reloader(runtime, opener)
    async with app.router.lifespan_context(app):
        await runtime.model.warmed.wait()
        await reloader.reload(as_version(bundle, tmp_path / "newer", "4"))
        gc.collect()
        assert first() is None


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
def test_the_engine_is_what_the_settings_say_so_that_auto_chooses_anew(bundle, monkeypatch, engine):
    asked = []

    def opened(path: Path, engine: str, *rest: Any) -> Any:
        asked.append(engine)
        return open_session(path, engine, *rest)

    monkeypatch.setattr("service.reload.open_session", opened)
    opener = opener_of(settings_of(bundle, engine=engine))
    assert opener(bundle.folder).session.engine.startswith("onnxruntime-")
    assert asked == [engine]


def test_a_checkpoint_is_refused_before_it_is_opened(bundle, tmp_path):
    opener = opener_of(settings_of(bundle))
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes(b"")
    with pytest.raises(InputError, match="a checkpoint has no golden record to check it by"):
        opener(checkpoint)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"nothing", "application/json"),
        (b"[" * 60_000, "application/json"),
        (b"[]", "application/json"),
        (b"{}", "application/json"),
        (b'{"bundle": 7}', "application/json"),
        (b'{"bundle": ""}', "application/json"),
        (b'{"bundle": "a\\u0000b"}', "application/json"),
        (b'{"bundle": "a", "force": true}', "application/json"),
        (b'{"bundle": "a"}', "text/plain"),
        (b'{"bundle": "a"}', "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_of_another_form_is_malformed(body, kind):
    async with admin_of(Settings(max_batch_size=1), FakeSession(), unopened) as (admin, _):
        answer = await admin.post("/admin/reload", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_a_body_without_end_is_too_large():
    async with admin_of(Settings(max_batch_size=1), FakeSession(), unopened) as (admin, _):
        kind = {"Content-Type": "application/json"}
        answer = await admin.post("/admin/reload", content=b" " * 70_000, headers=kind)
    assert answer.status_code == 413


async def test_the_key_is_asked_for_where_there_is_one():
    settings = Settings(max_batch_size=1, api_key="secret")
    async with admin_of(settings, FakeSession(), unopened) as (admin, _):
        none = await admin.post("/admin/reload", json={"bundle": "a"})
        given = {"Authorization": "Bearer secret"}
        right = await admin.post("/admin/reload", json={"bundle": 7}, headers=given)
    assert (none.status_code, right.status_code) == (401, 400)


async def test_the_admin_port_answers_nothing_else():
    async with admin_of(Settings(max_batch_size=1), FakeSession(), unopened) as (admin, client):
        statuses = [
            (await admin.get("/admin/reload")).status_code,
            (nothing := await admin.get("/metrics")).status_code,
            (await admin.post("/v1/detect", content=PNG)).status_code,
            (await client.post("/admin/reload", json={"bundle": "a"})).status_code,
        ]
    assert statuses == [405, 404, 404, 404]
    assert nothing.json()["detail"] == (
        "there is nothing at this path; here is POST /admin/reload alone; "
        "health and metrics are on the main port"
    )


async def test_the_admin_port_is_bound_as_the_settings_say_and_closed_at_the_end():
    with admin_socket(Settings()) as none:
        assert none is None
    settings = Settings(admin_port=0, max_batch_size=1)
    app = create_app(settings, FakeSession())
    runtime = app.state.runtime
    reloader = Reloader(runtime, unopened)
    with admin_socket(settings) as listener:
        assert listener is not None
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        taken = Settings(admin_port=port)
        with pytest.raises(InputError, match="choose another with --admin-port"):
            admin_socket(taken).__enter__()
        async with (
            app.router.lifespan_context(app),
            administered(runtime, reloader, listener),
            httpx.AsyncClient(base_url=f"http://{host}:{port}") as client,
        ):
            answer = await client.post("/admin/reload", json={"bundle": 7})
            assert answer.status_code == 400
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


async def test_sighup_is_obeyed_until_left_and_then_what_it_was_before(monkeypatch):
    told: list[str] = []
    app = create_app(Settings(max_batch_size=1), FakeSession())
    reloader = Reloader(app.state.runtime, unopened)
    obeyed = asyncio.Event()
    monkeypatch.setattr(reloader, "on_hangup", lambda: (told.append("obeyed"), obeyed.set()))
    before = signal.signal(signal.SIGHUP, lambda *_: told.append("as before"))
    try:
        async with administered(app.state.runtime, reloader, None):
            os.kill(os.getpid(), signal.SIGHUP)
            await obeyed.wait()
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert told == ["obeyed", "as before"]
