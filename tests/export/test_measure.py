"""Detections of a graph or a server, told in image pixels and class indices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from export.measure import detections_of_graph, detections_of_server
from model.data.coco import read_coco
from model.data.records import DataSet
from model.errors import InputError
from model.evaluation.coco_metrics import coco_metrics
from model.letterbox import Canvas, letterbox

CANVASES = [Canvas(64, 96), Canvas(96, 64)]


@pytest.fixture(scope="module")
def data(small_scenes: Path) -> DataSet:
    return read_coco(small_scenes / "annotations.json", small_scenes / "images")


class Knowing:
    """A session that finds each record's true boxes, in canvas pixels, with a blank row after."""

    def __init__(self, data: DataSet) -> None:
        self.records = iter(data.records)

    def run(self, names: None, feed: dict[str, Any]) -> list[Any]:
        record = next(self.records)
        place = letterbox((96, 128), 64, CANVASES)
        assert feed["image_sizes"].tolist() == [list(place.resized)]
        count = len(record.boxes)
        boxes = np.vstack([place.boxes_to_canvas(record.boxes), np.zeros((1, 4), np.float32)])
        scores = np.append(np.linspace(0.9, 0.5, count), 0.0).astype(np.float32)
        return [np.array([count]), boxes[None], scores[None], np.append(record.classes, -1)[None]]


def test_graph_that_finds_the_truth_has_ap_1(data: DataSet) -> None:
    found = detections_of_graph(Knowing(data), data.records, 64, CANVASES)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert [len(found[r.image_id].boxes) for r in data.records] == [
        len(r.boxes) for r in data.records
    ]
    assert coco_metrics(data.coco, data.classes, found)["AP"] == 1.0


Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Handler], None]]:
    """Installs what answers every HTTP request."""
    real = httpx.Client

    def install(handler: Handler) -> None:
        transport = httpx.MockTransport(handler)
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
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return truth_of(data)(request)

    server(answer)
    found = detections_of_server("http://host/base/", data.records, data.classes, 64)
    assert coco_metrics(data.coco, data.classes, found)["AP"] == 1.0
    assert str(asked[0]) == "http://host/base/v1/detect?max_detections=100&scale=64"


def test_server_decides_the_scale_unless_one_is_given(
    data: DataSet, server: Callable[[Handler], None]
) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"detections": []})

    server(answer)
    found = detections_of_server("http://host", data.records[:1], data.classes, None)
    assert str(asked[0]) == "http://host/v1/detect?max_detections=100"
    assert found[1].boxes.shape == (0, 4)


def refused(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused")


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (refused, r"http://host does not answer as a detection server \(Connection refused\)"),
        (lambda _: httpx.Response(200, text="<html>"), "does not answer as a detection server"),
        (lambda _: httpx.Response(404, json=["no"]), r"detection server \(HTTP 404\)"),
        (lambda _: httpx.Response(200, json={"ok": True}), r"detection server \(HTTP 200\)"),
        (
            lambda _: httpx.Response(422, json={"detail": "scale 7: accepted are 64"}),
            r"http://host refused .*drawn_00000.jpg: scale 7: accepted are 64",
        ),
        (
            lambda _: httpx.Response(
                200, json={"detections": [{"box": [0, 0, 1, 1], "score": 1, "label": "cat"}]}
            ),
            "found 'cat', which is no class of the data set; its classes are Platelets, RBC, WBC",
        ),
    ],
)
def test_server_that_is_none_of_ours_is_named(
    data: DataSet, server: Callable[[Handler], None], handler: Handler, said: str
) -> None:
    server(handler)
    with pytest.raises(InputError, match=said):
        detections_of_server("http://host", data.records, data.classes, None)


def test_address_that_is_none_is_named(data: DataSet) -> None:
    with pytest.raises(InputError, match="does not answer as a detection server"):
        detections_of_server("http://[host", data.records, data.classes, None)
