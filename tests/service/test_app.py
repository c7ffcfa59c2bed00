"""Everything beside /v1/detect: health, models, metrics, docs, and what does not exist."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from service.app import create_app
from service.engine.warmup import shapes_of
from service.settings import Settings
from tests.service.fakes import FakeSession, HeldEngine, make_manifest, picture, settle

pytestmark = pytest.mark.anyio


async def test_livez_and_readyz_are_fine_once_warm(serving):
    async with serving() as client:
        for path, status in (("/livez", "ok"), ("/readyz", "ready")):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": status})


async def test_models_describes_the_bundle(serving):
    async with serving() as client:
        answer = await client.get("/v1/models")
    assert answer.json() == {
        "models": [
            {
                "name": "cells",
                "version": "1",
                "classes": ["Platelets", "RBC", "WBC"],
                "scales": [64, 128],
                "default_scale": 128,
                "canvases": {"64": ["64x96"], "128": ["128x160", "160x128"]},
                "thresholds": {
                    "score_threshold": 0.05,
                    "iou_threshold": 0.5,
                    "pre_nms_top_k": 1000,
                    "max_detections": 300,
                },
                "engine": "fake-1",
                "precision": "fp32",
                "parity": {"box": 0.1},
                "metrics": {},
            }
        ]
    }


@pytest.mark.parametrize("path", ["/nope", "/v1/detect/", "/metrics/", "/v1", "/../etc/passwd"])
async def test_an_unknown_path_is_a_404_problem(serving, path):
    async with serving() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_wrong_method_is_a_405_problem_with_allow(serving):
    async with serving() as client:
        answers = [await client.get("/v1/detect"), await client.post("/livez")]
    assert [answer.status_code for answer in answers] == [405, 405]
    assert [answer.headers["allow"] for answer in answers] == ["POST", "GET, HEAD"]
    assert answers[0].json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/docs", "/console/base.css", "/openapi.json", "/livez"])
async def test_allow_names_each_method_once(serving, path):
    async with serving() as client:
        answer = await client.post(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["detail"] == "POST is not accepted here; accepted: GET, HEAD"


async def test_until_every_shape_has_run_the_server_is_not_ready():
    engine = HeldEngine()
    app = create_app(Settings(max_batch_size=2, decode_threads=1), FakeSession(), engine=engine)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as client,
    ):
        await engine.begun.wait()
        ready = await client.get("/readyz")
        detect = await asyncio.wait_for(client.post("/v1/detect", content=picture()), 5)
        assert (await client.get("/livez")).status_code == 200
        engine.release_all()
        await app.state.runtime.model.warmed.wait()
        assert (await client.get("/readyz")).status_code == 200
    for answer in (ready, detect):
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert ready.json()["detail"] == "the engine is warming up: 0 of 6 shapes have run"
    warmed = [(batch[0].key.canvas, len(batch)) for batch in engine.batches]
    assert warmed == shapes_of(make_manifest(), app.state.runtime.model.batcher.limits)
    assert [(str(canvas), size) for canvas, size in warmed] == [
        ("64x96", 1), ("64x96", 2), ("128x160", 1), ("128x160", 2), ("160x128", 1), ("160x128", 2),
    ]  # fmt: skip


async def test_a_server_that_warms_up_says_how_long_that_takes_yet():
    engine, now = HeldEngine(), 1000.0
    settings = Settings(max_batch_size=2, decode_threads=1)
    app = create_app(settings, FakeSession(), engine=engine, clock=lambda: now)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as client,
    ):
        await engine.begun.wait()
        told = [(await client.get("/readyz")).headers["retry-after"]]
        now += 7.0
        told.append((await client.get("/readyz")).headers["retry-after"])
        for _ in range(2):
            engine.release()
            await settle()
        now += 0.5
        told.append((await client.get("/readyz")).headers["retry-after"])
        engine.release_all()
    assert told == ["1", "42", "15"]  # 6 x 7 s, then 4 x 3.75 s


async def test_no_shape_that_runs_later_is_unseen(serving):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine, decode_threads=2) as client:
        await asyncio.gather(
            *(
                client.post(f"/v1/detect?scale={scale}", content=picture(*size))
                for scale in (64, 128)
                for size in ((160, 128), (100, 300), (300, 100), (7, 5))
            )
        )
        metrics = (await client.get("/metrics")).text
    assert "retinaserve_unseen_shapes_total 0.0" in metrics
    assert 'retinaserve_images_total{outcome="ok"} 8.0' in metrics


async def test_an_engine_that_fails_to_warm_up_never_gets_ready(serving):
    def broken(images):
        raise RuntimeError("/secret/path")

    async with serving(FakeSession(on_run=broken)) as client:
        ready = await client.get("/readyz")
        detect = await client.post("/v1/detect", content=picture())
    assert [ready.status_code, detect.status_code] == [503, 503]
    assert ready.json()["detail"] == "the engine does not run; the log says why"


async def test_while_draining_readyz_says_503_and_requests_are_still_served(serving):
    apps = []
    async with serving(app_of=apps.append) as client:
        apps[0].state.runtime.begin_drain()
        ready = await client.get("/readyz")
        detect = await client.post("/v1/detect", content=picture())
    assert (ready.status_code, ready.json()["code"]) == (503, "draining")
    assert ready.headers["retry-after"] == "10"
    assert detect.status_code == 200
    assert detect.headers["connection"] == "close"


async def test_stopping_finishes_what_is_in_flight():
    engine = HeldEngine()
    engine.hold = False
    app = create_app(Settings(max_batch_size=1, decode_threads=1), FakeSession(), engine=engine)
    stack = app.router.lifespan_context(app)
    await stack.__aenter__()
    await app.state.runtime.model.warmed.wait()
    engine.hold = True
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as client:
        posts = [
            asyncio.ensure_future(client.post("/v1/detect", content=picture())) for _ in range(2)
        ]
        await engine.begun.wait()
        stopping = asyncio.ensure_future(stack.__aexit__(None, None, None))
        await settle(20)
        assert not stopping.done()
        engine.release_all()
        answers = await asyncio.gather(*posts)
        await stopping
        late = await client.post("/v1/detect", content=picture())
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (late.status_code, late.json()["code"]) == (503, "draining")


async def test_docs_and_openapi_describe_bodies_answers_and_problems(serving):
    async with serving() as client:
        assert (await client.get("/docs")).status_code == 200
        document = (await client.get("/openapi.json")).json()
    detect = document["paths"]["/v1/detect"]["post"]
    assert sorted(detect["requestBody"]["content"]) == [
        "application/json", "application/octet-stream", "image/*", "multipart/form-data",
    ]  # fmt: skip
    assert [parameter["name"] for parameter in detect["parameters"]] == [
        "score_threshold", "iou_threshold", "max_detections", "classes", "scale", "box_format",
        "timeout_ms",
    ]  # fmt: skip
    assert sorted(detect["responses"]) == [
        "200", "400", "401", "408", "413", "415", "422", "429", "500", "503", "504",
    ]  # fmt: skip
    assert list(detect["responses"]["422"]["content"]) == ["application/problem+json"]
    assert sorted(detect["responses"]["200"]["content"]) == [
        "application/json", "image/jpeg", "image/png",
    ]  # fmt: skip
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas
    assert sorted(schemas["DetectResult"]["properties"]) == [
        "detections", "image", "model", "scale", "timings_ms",
    ]  # fmt: skip
    refs = set(_refs(document))
    assert refs <= {f"#/components/schemas/{name}" for name in schemas}


def _refs(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _refs(value)
