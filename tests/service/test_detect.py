"""POST /v1/detect: bodies, parameters, answers and errors, in this process."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from service.detector import CLIENT_LEFT
from service.pictures.drawing import class_colour
from service.telemetry.metrics import outcome_of
from tests.exif import TURNS, exif_of, stored
from tests.service.fakes import FakeSession, HeldEngine, detections, picture, settle

pytestmark = pytest.mark.anyio

PNG = picture()
BROKEN = picture(64, 64, "JPEG")[:200]
THREE_BOXES = [[8.0, 16.0, 40.0, 48.0], [0.0, 0.0, 20.0, 10.0], [50.0, 50.0, 60.0, 70.0]]


async def test_a_picture_answers_with_exactly_the_fields_of_the_interface(serving):
    async with serving() as client:
        answer = await client.post("/v1/detect", content=PNG)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    timings = body.pop("timings_ms")
    assert body == {
        "model": {"name": "cells", "version": "1"},
        "image": {"width": 160, "height": 128},
        "scale": 128,
        "detections": [
            {"box": THREE_BOXES[0], "score": 0.9, "label": "RBC", "class_index": 1},
            {"box": THREE_BOXES[1], "score": 0.5, "label": "Platelets", "class_index": 0},
            {"box": THREE_BOXES[2], "score": 0.25, "label": "RBC", "class_index": 1},
        ],
    }
    assert list(timings) == ["decode", "queue", "inference", "postprocess"]
    assert all(ms >= 0 for ms in timings.values())
    told = re.findall(r"(\w+);dur=([\d.e-]+)", answer.headers["server-timing"])
    assert {stage: float(ms) for stage, ms in told} == timings
    assert re.search(r'inference;dur=[\d.e-]+;desc="batch of 1"', answer.headers["server-timing"])


RAW_TYPES = ["image/png", "image/jpeg", "application/octet-stream", "text/plain", None]


@pytest.mark.parametrize(
    "content_type", [*RAW_TYPES, "application/x-www-form-urlencoded", "image/png; x=y"]
)
async def test_a_raw_body_is_judged_by_its_content_whatever_it_is_called(serving, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    async with serving() as client:
        answer = await client.post("/v1/detect", content=PNG, headers=headers)
    assert answer.status_code == 200


async def test_one_image_in_any_body_answers_with_the_bare_object(serving):
    text = base64.b64encode(PNG).decode()
    async with serving() as client:
        answers = [
            await client.post("/v1/detect", files={"picture": ("a.png", PNG)}),
            await client.post("/v1/detect", json={"image": text}),
            await client.post("/v1/detect", json={"image": "data:image/png;base64," + text}),
            await client.post("/v1/detect", json={"images": [text]}),
        ]
    assert [len(answer.json()["detections"]) for answer in answers] == [3, 3, 3, 3]


async def test_several_images_answer_in_order_and_a_bad_one_fails_alone(serving):
    files = [("a", PNG), ("b", BROKEN), ("c", picture(64, 128))]
    async with serving() as client:
        by_form = await client.post("/v1/detect", files=files)
        texts = [base64.b64encode(data).decode() for _, data in files]
        by_json = await client.post("/v1/detect", json={"images": texts})
    for answer in (by_form, by_json):
        assert answer.status_code == 200
        first, second, third = answer.json()["results"]
        assert first["image"] == {"width": 160, "height": 128}
        assert third["image"] == {"width": 64, "height": 128}
        assert list(second) == ["problem"]
        assert (second["problem"]["status"], second["problem"]["code"]) == (422, "undecodable")
        assert second["problem"]["request_id"] == answer.headers["x-request-id"]


async def test_parameters_reach_the_engine_and_the_answer(serving):
    session = FakeSession()
    async with serving(session) as client:
        session.runs.clear()
        answer = await client.post(
            "/v1/detect?score_threshold=.01&iou_threshold=.7&scale=64&classes=RBC,0"
            "&max_detections=2&box_format=xywh&timeout_ms=60000",
            content=PNG,
        )
    assert session.runs == [((1, 64, 96, 3), [[64, 80]], 0.01, 0.7)]
    body = answer.json()
    assert body["scale"] == 64
    assert [row["box"] for row in body["detections"]] == [[16, 32, 64, 64], [0, 0, 40, 20]]


async def test_default_thresholds_batch_together_and_a_higher_one_filters(serving):
    session = FakeSession()
    async with serving(session) as client:
        session.runs.clear()
        answer = await client.post("/v1/detect?score_threshold=.5", content=PNG)
    assert [run[2:] for run in session.runs] == [(0.05, 0.5)]
    assert [row["score"] for row in answer.json()["detections"]] == [0.9]


BAD_QUERIES = [
    ("scor_threshold=.5", "unknown query parameter 'scor_threshold'; accepted are score_threshold"),
    ("score_threshold=2", "score_threshold is '2'"),
    ("score_threshold=nan", "score_threshold is 'nan'"),
    ("iou_threshold=x", "iou_threshold is 'x'"),
    ("max_detections=0", "max_detections is 0; accepted is 1 to 300"),
    ("max_detections=1e3", "max_detections is '1e3'"),
    ("classes=cat", "classes: 'cat' is not one"),
    ("scale=500", "scale is 500; accepted are this bundle's: 64, 128"),
    ("box_format=yolo", "box_format is 'yolo'"),
    ("timeout_ms=0", "timeout_ms is '0'"),
    ("timeout_ms=60001", "timeout_ms is '60001'"),
]


@pytest.mark.parametrize(("query", "detail"), BAD_QUERIES)
async def test_a_bad_parameter_is_a_400_that_names_it(serving, query, detail):
    async with serving() as client:
        answer = await client.post(f"/v1/detect?{query}", content=PNG)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "malformed"
    assert answer.json()["detail"].startswith(detail)


async def test_a_problem_has_the_members_of_rfc_9457_and_ours(serving):
    async with serving() as client:
        answer = await client.post(
            "/v1/detect", content=b"hello", headers={"X-Request-ID": "my-id.1"}
        )
    assert answer.headers["x-request-id"] == "my-id.1"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Unsupported Media Type",
        "status": 415,
        "detail": "the content is no picture type taken here: send JPEG, PNG, WebP, BMP, TIFF, "
        "GIF or AVIF",
        "instance": "/v1/detect",
        "code": "unsupported_type",
        "request_id": "my-id.1",
    }


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"", "image/png", 400, "malformed"),
        (b"{", "application/json", 400, "malformed"),
        (b"--", "multipart/form-data", 400, "malformed"),
        (b"x" * 5000, "image/png", 413, "too_large"),
        (picture(600, 500, "GIF")[:3000], "image/gif", 413, "too_large"),
        (b"x", "image/png", 415, "unsupported_type"),
        (BROKEN, "image/jpeg", 422, "undecodable"),
    ],
)
async def test_a_bad_body_gets_its_status(serving, content, content_type, status, code):
    headers = {"Content-Type": content_type}
    async with serving(max_body_bytes=4096, max_image_pixels=299_999) as client:
        answer = await client.post("/v1/detect", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "ä", "x\ty"])
async def test_a_request_id_that_could_do_harm_is_replaced(serving, given):
    async with serving() as client:
        answer = await client.get("/livez", headers={"X-Request-ID": given.encode()})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_an_engine_that_fails_is_a_500_without_its_message(serving):
    def fail(images):
        if images.any() and images[0, 0, 0, 0] != 128:  # not the grey of the warm-up
            raise RuntimeError("/secret/path: CUDA error 700")

    async with serving(FakeSession(on_run=fail)) as client:
        answer = await client.post("/v1/detect", content=PNG)
        metrics = (await client.get("/metrics")).text
    assert (answer.status_code, answer.json()["code"]) == (500, "inference_failed")
    assert "secret" not in answer.text
    assert "CUDA" not in answer.text
    assert 'retinaserve_engine_faults_total{kind="run_failed"} 1.0' in metrics


async def test_a_bug_is_a_500_without_its_message(serving, monkeypatch):
    async with serving() as client:
        monkeypatch.setattr("service.answers.result_of", lambda *_: 1 / 0)
        answer = await client.post("/v1/detect", content=PNG)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "division" not in answer.text


@pytest.mark.parametrize("kind", ["png", "jpeg"])
async def test_accept_a_picture_answers_with_boxes_drawn(serving, kind):
    async with serving() as client:
        answer = await client.post("/v1/detect", content=PNG, headers={"Accept": f"image/{kind}"})
    assert answer.headers["content-type"] == f"image/{kind}"
    assert "decode;dur=" in answer.headers["server-timing"]
    drawn = Image.open(io.BytesIO(answer.content))
    assert (drawn.format, drawn.size) == (kind.upper(), (160, 128))
    if kind == "png":
        assert drawn.getpixel((8, 48)) == class_colour(1)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("image/png;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("image/webp,image/jpeg,*/*;q=0.8", "image/jpeg"),
        ("image/png;q=0", "application/json"),
        ("image/png;q=x", "application/json"),
    ],
)
async def test_accept_is_weighed(serving, accept, content_type):
    async with serving() as client:
        answer = await client.post("/v1/detect", content=PNG, headers={"Accept": accept})
    assert answer.headers["content-type"] == content_type


async def test_several_images_cannot_answer_with_a_picture(serving):
    files = [("a", PNG), ("b", PNG)]
    async with serving() as client:
        answer = await client.post("/v1/detect", files=files, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of bad EXIF data that it can do without
async def test_no_awkward_file_gets_anything_but_200_or_a_4xx(serving, awkward: Path):
    listed = json.loads((awkward / "manifest.json").read_text())
    statuses = {}
    async with serving() as client:
        for item in listed:
            data = (awkward / item["path"]).read_bytes()
            statuses[item["path"]] = (await client.post("/v1/detect", content=data)).status_code
    assert set(statuses.values()) <= {200, 413, 415, 422}
    assert len(statuses) >= 143


async def test_the_eight_orientations_give_the_same_boxes(serving):
    session = FakeSession(on_run=brightest_pixel)
    upright = Image.new("RGB", (160, 128))
    upright.paste("white", (20, 100, 24, 104))
    boxes = []
    async with serving(session) as client:
        for orientation in TURNS:
            out = io.BytesIO()
            stored(upright, orientation).save(out, "PNG", exif=exif_of(orientation))
            answer = (await client.post("/v1/detect", content=out.getvalue())).json()
            assert answer["image"] == {"width": 160, "height": 128}
            boxes.append(answer["detections"][0]["box"])
    assert boxes == [[20.0, 100.0, 24.0, 104.0]] * 8


def brightest_pixel(images):
    """One detection an image: the box around what is white."""
    found = []
    for image in images:
        y, x = (image[..., 0] == 255).nonzero()
        if len(x):
            box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
            found.append(detections((box, 0.9, 1)))
        else:
            found.append(detections())
    return found


async def test_past_timeout_ms_the_answer_is_504_and_the_image_is_dropped(serving):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine) as client:
        engine.hold = True
        answer = await client.post("/v1/detect?timeout_ms=30", content=PNG)
        engine.release_all()
        metrics = (await client.get("/metrics")).text
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_passed")
    assert 'retinaserve_images_total{outcome="timeout"} 1.0' in metrics
    assert 'retinaserve_requests_total{outcome="timeout",route="/v1/detect"} 1.0' in metrics


async def test_a_full_queue_is_503_with_an_integer_retry_after(serving):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine, queue_limit=1, max_batch_size=1) as client:
        engine.hold = True
        running = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await engine.begun.wait()
        waiting = asyncio.ensure_future(client.post("/v1/detect", content=PNG))
        await settle(20)
        refused = await client.post("/v1/detect", content=PNG)
        engine.release_all()
        answers = await asyncio.gather(running, waiting)
        metrics = (await client.get("/metrics")).text
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
    assert refused.headers["retry-after"] == "1"
    assert [answer.status_code for answer in answers] == [200, 200]
    assert 'retinaserve_requests_total{outcome="rejected",route="/v1/detect"} 1.0' in metrics


KEYS = [
    ({}, 401),
    ({"X-API-Key": "wrong"}, 401),
    ({"X-API-Key": "schlüssel".encode()}, 401),
    ({"Authorization": "Basic s3cret"}, 401),
    ({"Authorization": "Bearer s3cret"}, 200),
    ({"Authorization": "bearer s3cret"}, 200),
    ({"X-API-Key": "s3cret"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), KEYS)
async def test_an_api_key_guards_detect_where_set(serving, headers, status):
    async with serving(api_key="s3cret") as client:
        answer = await client.post("/v1/detect", content=PNG, headers=headers)
        assert (await client.get("/livez")).status_code == 200
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthorized"


def test_every_status_has_one_outcome():
    assert outcome_of(CLIENT_LEFT) == "cancelled"
    statuses = (200, 400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
    assert [outcome_of(status) for status in statuses] == (
        ["ok"] + ["client_error"] * 8 + ["rejected", "error", "rejected", "timeout"]
    )
