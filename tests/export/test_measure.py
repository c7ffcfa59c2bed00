"""Detections of a graph or a server, told in image pixels and class indices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from export.engines.session import Detections
from export.manifest import Thresholds
from export.measure import Server, detections_of_graph
from model.data.coco import read_coco
from model.data.records import DataSet
from model.errors import InputError
from model.evaluation.coco_metrics import coco_metrics
from model.letterbox import Canvas, letterbox

CANVASES = [Canvas(64, 96), Canvas(96, 64)]


@pytest.fixture(scope="module")
def data(small_scenes: Any) -> DataSet:
    return read_coco(small_scenes / "annotations.json", small_scenes / "images")


class Knowing:
    """A detector that finds each record's true boxes, in canvas pixels."""

    def __init__(self, data: DataSet) -> None:
        self.records = iter(data.records)
        self.batches: list[int] = []

    def run(
        self, images: Any, image_sizes: Any, score_threshold: float, iou_threshold: float
    ) -> list[Detections]:
        assert (score_threshold, iou_threshold) == (0.05, 0.5)
        place = letterbox((96, 128), 64, CANVASES)
        self.batches.append(len(images))
        found = []
        for size in image_sizes.tolist():
            assert size == list(place.resized)
            record = next(self.records)
            scores = np.linspace(0.9, 0.5, len(record.boxes), dtype=np.float32)
            found.append(Detections(place.boxes_to_canvas(record.boxes), scores, record.classes))
        return found


@pytest.mark.parametrize(("batch_size", "batches"), [(1, [1] * 6), (4, [4, 2])])
def test_graph_that_finds_the_truth_has_ap_1(
    data: DataSet, batch_size: int, batches: list[int]
) -> None:
    session = Knowing(data)
    told: list[int] = []
    found = detections_of_graph(
        session, data.records, 64, CANVASES, Thresholds(), batch_size, told.append
    )
    assert session.batches == told == batches
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert [len(found[r.image_id].boxes) for r in data.records] == [
        len(r.boxes) for r in data.records
    ]
    assert coco_metrics(data.coco, data.classes, found)["AP"] == 1.0


Handler = Callable[[httpx.Request], httpx.Response]

MODEL = {"models": [{"name": "cells", "classes": ["Platelets", "RBC", "WBC"], "default_scale": 64}]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Handler], None]]:
    """Installs what answers every `POST /v1/detect`; a server of ours answers the rest."""
    real = httpx.Client

    def install(handler: Handler) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "GET" and request.url.path.endswith("/v1/models"):
                return httpx.Response(200, json=MODEL)
            return handler(request)

        transport = httpx.MockTransport(answer)
        monkeypatch.setattr(httpx, "Client", lambda **given: real(transport=transport, **given))

    return install


def truth_of(data: DataSet) -> Handler:
    by_hash = {hashlib.sha256(r.source.read_bytes()).digest(): r for r in data.records}

    def answer(request: httpx.Request) -> httpx.Response:
        record = by_hash[hashlib.sha256(request.content).digest()]
        rows = [
            {"box": box, "score": 0.9, "label": data.classes[index]}
            for box, index in zip(record.boxes.tolist(), record.classes.tolist(), strict=True)
        ]
        return httpx.Response(200, json={"detections": rows})

    return answer


def test_server_that_finds_the_truth_has_ap_1(
    data: DataSet, server: Callable[[Handler], None]
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return truth_of(data)(request)

    server(answer)
    told: list[int] = []
    subject = Server("http://host/base/")
    found = subject.detections(data.records, 64, told.append)
    assert (subject.name, subject.classes, subject.default_scale) == ("cells", data.classes, 64)
    assert coco_metrics(data.coco, data.classes, found)["AP"] == 1.0
    assert asked == ["http://host/base/v1/detect?max_detections=100&scale=64"] * 6
    assert told == [1] * 6


def test_server_decides_the_scale_unless_one_is_given(
    data: DataSet, server: Callable[[Handler], None]
) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"detections": []})

    server(answer)
    found = Server("http://host").detections(data.records[:1], None)
    assert str(asked[0]) == "http://host/v1/detect?max_detections=100"
    assert found[1].boxes.shape == (0, 4)


def test_key_of_the_environment_goes_along(
    data: DataSet, server: Callable[[Handler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["X-API-Key"])
        return httpx.Response(200, json={"detections": []})

    server(answer)
    monkeypatch.setenv("RETINASERVE_API_KEY", "sesame")
    Server("http://host").detections(data.records[:1], None)
    assert keys == ["sesame"]


def test_busy_server_is_asked_again_when_it_says(
    data: DataSet, server: Callable[[Handler], None]
) -> None:
    answers = [
        httpx.Response(503, headers={"Retry-After": "3"}, json={"detail": "full"}),
        httpx.Response(503, json={"detail": "full"}),
        httpx.Response(200, json={"detections": []}),
    ]
    server(lambda _: answers.pop(0))
    slept: list[float] = []
    Server("http://host", slept.append).detections(data.records[:1], None)
    assert slept == [3.0, 1.0]


def test_server_that_stays_busy_is_told_in_a_sentence(
    data: DataSet, server: Callable[[Handler], None]
) -> None:
    server(lambda _: httpx.Response(503, json={"detail": "the queue is full"}))
    slept: list[float] = []
    with pytest.raises(InputError, match=r"http://host is full .* 5 times .*the queue is full\)"):
        Server("http://host", slept.append).detections(data.records[:1], None)
    assert slept == [1.0] * 4


def refused(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused")


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (refused, r"http://host does not answer as a detection server \(Connection refused\)"),
        (lambda _: httpx.Response(200, text="<html>"), r"detection server \(HTTP 200\)"),
        (lambda _: httpx.Response(404, json=["no"]), r"detection server \(HTTP 404\)"),
        (lambda _: httpx.Response(503, text="<html>"), r"detection server \(HTTP 503\)"),
        (lambda _: httpx.Response(200, json={"ok": True}), "an answer is not as expected"),
        (
            lambda _: httpx.Response(422, json={"detail": "scale 7: accepted are 64"}),
            r"http://host refused .*drawn_00000.jpg: scale 7: accepted are 64",
        ),
        (
            lambda _: httpx.Response(
                200, json={"detections": [{"box": [0, 0, 1, 1], "score": 1, "label": "cat"}]}
            ),
            "an answer is not as expected",
        ),
    ],
)
def test_server_that_is_none_of_ours_is_named(
    data: DataSet, server: Callable[[Handler], None], handler: Handler, said: str
) -> None:
    server(handler)
    with pytest.raises(InputError, match=said):
        Server("http://host", lambda _: None).detections(data.records, None)


@pytest.mark.parametrize("answer", [{"models": []}, {"models": [{"name": "x"}]}, {"ok": 1}])
def test_server_without_a_model_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    real = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **given: real(transport=transport, **given))
    with pytest.raises(InputError, match="does not answer as a detection server"):
        Server("http://host")


def test_address_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match="does not answer as a detection server"):
        Server("http://[host")
