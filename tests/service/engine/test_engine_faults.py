"""What a server does when its engine fails: nobody gets a wrong 200, and what is lost is said."""

from __future__ import annotations

import asyncio
import threading

import pytest

from export.engines.session import DeviceFault
from tests.service.fakes import FakeSession, HeldEngine, picture, settle

pytestmark = pytest.mark.anyio

PNG = picture()


def marked(value: str) -> dict[str, str]:
    return {"X-Retinaserve-Chaos": value}


async def faults(client) -> dict[str, int]:
    lines = (await client.get("/metrics")).text.splitlines()
    found = [line for line in lines if line.startswith("retinaserve_engine_faults_total{")]
    return {line.split('"')[1]: int(float(line.split()[1])) for line in found}


NO_FAULTS = {"hung": 0, "device_fault": 0, "out_of_memory": 0, "run_failed": 0}


def failures_of(apps) -> list[str]:
    """Grows when the server wants its process to end."""
    asked: list[str] = []
    apps[0].state.runtime.on_failure = lambda: asked.append("end")
    return asked


async def queued(apps, count: int) -> None:
    """Returns when so many images wait for the engine, which nothing tells of."""
    while apps[0].state.runtime.model.batcher.queued < count:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class Gate:
    """Holds the engine's thread at the first image that is not the grey of the warm-up."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, images) -> None:
        if images[0, 0, 0, 0] != 128:
            self.reached.set()
            self.open.wait(60)


async def test_a_sticky_fault_is_503_for_all_at_once_and_asks_for_the_end_once(serving):
    apps, gate, session = [], Gate(), FakeSession()
    session.on_run = gate
    async with serving(session, chaos=True, max_batch_size=1, app_of=apps.append) as client:
        asked = failures_of(apps)
        first = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await asyncio.to_thread(gate.reached.wait)
        bad = asyncio.ensure_future(
            client.post("/v1/detect", content=PNG, headers=marked("sticky"))
        )
        waiting = [asyncio.ensure_future(client.post("/v1/detect", content=PNG)) for _ in range(3)]
        await queued(apps, 4)
        assert (await client.get("/readyz")).status_code == 200
        gate.open.set()
        assert (await first).status_code == 200
        runs = len(session.runs)
        lost = [await bad, *await asyncio.gather(*waiting)]
        lost += [await client.post("/v1/detect", content=PNG), await client.get("/readyz")]
        for answer in lost:
            assert (answer.status_code, answer.json()["code"]) == (503, "engine_lost")
            assert answer.headers["retry-after"] == "10"
        assert len(session.runs) == runs
        assert asked == ["end"]
        assert await faults(client) == NO_FAULTS | {"device_fault": 1}
        assert (await client.get("/livez")).status_code == 200


async def test_a_run_that_hangs_is_503_for_all_and_asks_for_the_end(serving):
    apps, engine = [], HeldEngine()
    engine.hold = False
    async with serving(
        engine=engine, app_of=apps.append, engine_timeout_s=0.01, max_batch_size=1
    ) as client:
        asked = failures_of(apps)
        engine.hold = True
        posts = [client.post("/v1/detect", content=PNG) for _ in range(3)]
        answers = await asyncio.wait_for(asyncio.gather(*posts), 30)
        for answer in (*answers, await client.get("/readyz")):
            assert (answer.status_code, answer.json()["code"]) == (503, "engine_lost")
        assert asked == ["end"]
        assert await faults(client) == NO_FAULTS | {"hung": 1}


async def test_a_batch_out_of_memory_is_split_and_all_are_answered(serving):
    apps, gate, session = [], Gate(), FakeSession()
    session.on_run = gate
    async with serving(session, chaos=True, app_of=apps.append) as client:
        asked = failures_of(apps)
        first = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await asyncio.to_thread(gate.reached.wait)
        pair = [
            asyncio.ensure_future(client.post("/v1/detect", content=PNG, headers=headers))
            for headers in (marked("oom"), {})
        ]
        await queued(apps, 2)
        gate.open.set()
        answers = [await first, *await asyncio.gather(*pair)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert asked == []
        assert await faults(client) == NO_FAULTS | {"out_of_memory": 1}
        assert (await client.get("/readyz")).status_code == 200


async def test_a_marked_image_that_fails_harms_no_mate(serving):
    apps, gate, session = [], Gate(), FakeSession()
    session.on_run = gate
    async with serving(session, chaos=True, app_of=apps.append) as client:
        first = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await asyncio.to_thread(gate.reached.wait)
        pair = [
            asyncio.ensure_future(client.post("/v1/detect", content=PNG, headers=headers))
            for headers in ({}, marked("fail"))
        ]
        await queued(apps, 2)
        gate.open.set()
        mate, culprit = await asyncio.gather(*pair)
        assert (await first).status_code == mate.status_code == 200
        assert (culprit.status_code, culprit.json()["code"]) == (500, "inference_failed")
        assert await faults(client) == NO_FAULTS | {"run_failed": 2}  # the pair, then it alone


@pytest.mark.parametrize(
    ("error", "kind"), [(RuntimeError("/secret"), "run_failed"), (DeviceFault("x"), "device_fault")]
)
async def test_a_failed_warm_up_asks_for_the_end(serving, error, kind):
    apps, asked = [], []

    def broken(images):
        raise error

    def watch(app) -> None:
        apps.append(app)
        asked.extend(failures_of(apps))
        app.state.runtime.on_failure = lambda: asked.append("end")

    async with serving(FakeSession(on_run=broken), app_of=watch) as client:
        await settle()
        for answer in (
            await client.get("/readyz"),
            await client.post("/v1/detect", content=PNG),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "engine_lost")
            assert answer.json()["detail"] == "the engine does not run; the log says why"
        assert asked == ["end"]
        assert await faults(client) == NO_FAULTS | {kind: 1}


async def test_a_session_that_exits_loses_the_engine_not_the_server(serving):
    def leave(images):
        if images[0, 0, 0, 0] != 128:
            raise SystemExit(1)

    apps = []
    async with serving(FakeSession(on_run=leave), app_of=apps.append) as client:
        asked = failures_of(apps)
        answer = await client.post("/v1/detect", content=PNG)
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_lost")
        assert asked == ["end"]


async def test_a_dispatcher_that_dies_asks_for_the_end(serving, monkeypatch):
    apps = []
    async with serving(app_of=apps.append) as client:
        asked = failures_of(apps)
        model = apps[0].state.runtime.model

        def broken(*_):
            raise RuntimeError("a bug")

        monkeypatch.setattr(model, "_report", broken)
        answer = await client.post("/v1/detect", content=PNG)
        assert answer.status_code == 503
        await settle()
        assert (await client.get("/readyz")).json()["code"] == "engine_lost"
        assert asked == ["end"]
