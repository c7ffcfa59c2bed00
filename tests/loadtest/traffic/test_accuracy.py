"""AP of a server whose model finds the same three things in every picture."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from export.measure import Server
from loadtest.protocols.detect import Detect
from loadtest.protocols.oip import Oip, ask_model
from loadtest.protocols.post import Post
from loadtest.traffic.accuracy import measured_ap
from loadtest.traffic.sample import Sample
from loadtest.traffic.trial import Load
from model.data.coco import read_coco
from model.data.records import DataSet
from model.errors import InputError
from model.evaluation.assessment import in_classes_of
from model.evaluation.coco_metrics import coco_metrics
from tests.loadtest.answering import OK, server, with_body
from tests.loadtest.http_server import http_server
from tests.service.fakes import picture
from tests.service.sockets import listening

pytestmark = pytest.mark.anyio

RBC, PLATELETS = 5, 9

BOXES = [
    (1, RBC, [8, 16, 32, 32]),
    # Overlaps what is found by 32/38: right up to an IoU of .8, 7 of the 10 thresholds.
    (2, RBC, [8, 16, 32, 38]),
    (1, PLATELETS, [0, 0, 20, 10]),
    (2, PLATELETS, [0, 0, 20, 10]),
    # Never found: recall ends at 2/3, 67 of the 101 points.
    (1, PLATELETS, [100, 100, 20, 20]),
]
AP = ((0.7 + 0.3 * 51 / 101) + 67 / 101) / 2
AP50 = (1 + 67 / 101) / 2


class Watching:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def begin(self, title: str, load: Load) -> None:
        self.seen.append(title)

    def sent(self) -> None:
        self.seen.append("sent")

    def tell(self, sample: Sample) -> None:
        self.seen.append(sample.outcome)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(picture(160, 128))
    labels = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": 160, "height": 128}
            for number in (1, 2)
        ],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": box}
            for n, (image, category, box) in enumerate(BOXES, 1)
        ],
        # In another order than the server has them, and without one that it finds.
        "categories": [{"id": RBC, "name": "RBC"}, {"id": PLATELETS, "name": "Platelets"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return read_coco(tmp_path / "labels.json", tmp_path)


async def test_ap_is_that_of_coco_and_of_evaluate(data: DataSet) -> None:
    watch = Watching()
    async with listening() as serving:
        url = "http://{}:{}".format(*serving.address)
        measured = await measured_ap(Detect([url]), data, watch=watch)

        def evaluated() -> tuple[float, float]:
            theirs = Server(url)
            found = theirs.detections(data.records, None)
            theirs._client.close()
            found = in_classes_of(data.classes, theirs.classes, found)
            metrics = coco_metrics(data.coco, data.classes, found)
            return metrics["AP"], metrics["AP50"]

        assert measured == await asyncio.to_thread(evaluated)
    assert measured == pytest.approx((AP, AP50), abs=1e-4)
    assert watch.seen == ["AP: 2 pictures", "sent", "sent", "ok", "ok"]


async def test_once_stopped_nothing_is_sent_and_there_is_no_ap(data: DataSet) -> None:
    watch = Watching()
    stopped = measured_ap(Detect(["http://127.0.0.1:9"]), data, 480, watch, lambda: True)
    assert await stopped == (None, None)
    assert watch.seen == ["AP at scale 480: 2 pictures"]


async def test_scale_and_protocol_are_those_asked_for(data: DataSet) -> None:
    async with listening() as serving:
        url = "http://{}:{}".format(*serving.address)
        model, binary = await asyncio.to_thread(ask_model, url, "cells", {})
        protocol = Oip([url], model, binary, labels=["Platelets", "RBC", "WBC"])
        assert await measured_ap(protocol, data) == pytest.approx((AP, AP50), abs=1e-4)
        # On a canvas half as large everything is found at twice the place.
        assert await measured_ap(protocol, data, 64) == (0.0, 0.0)
        assert serving.count('retinaserve_scale_total{scale="64"}') == 2


async def test_a_picture_without_an_answer_is_named(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.traffic.accuracy.PAUSE_S", 0.0)
    refusal = json.dumps({"code": "queue_full", "detail": "too many wait"})
    async with server(with_body("HTTP/1.1 503 Full\r\n", refusal)) as url:
        with pytest.raises(InputError, match=r"1\.png: .* \(503 queue_full, too many wait\); AP"):
            await measured_ap(Detect([url]), data)


async def test_a_picture_that_is_refused_is_asked_about_again(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.traffic.accuracy.PAUSE_S", 0.0)
    found = {
        "model": {"name": "cells", "version": "2"},
        "image": {"width": 160, "height": 128},
        "scale": 128,
        "detections": [{"box": [8, 16, 40, 48], "score": 0.9, "label": "RBC", "class_index": 1}],
        "timings_ms": {"decode": 1, "queue": 1, "inference": 1, "postprocess": 1},
    }
    answer = (200, json.dumps(found).encode())
    with http_server(lambda number: answer) as url:
        undisturbed = await measured_ap(Detect([url.rstrip("/")]), data)
    with http_server(lambda number: (503, b"") if number in (0, 1, 3) else answer) as url:
        assert await measured_ap(Detect([url.rstrip("/")]), data) == undisturbed
    assert undisturbed[1] == 0.5  # all of RBC, nothing of Platelets


async def test_a_server_that_finds_other_things_has_no_ap(data: DataSet) -> None:
    async with server(with_body(OK, "{}")) as url:
        with pytest.raises(InputError, match=r"finds nothing .* where RBC, Platelets are labelled"):
            await measured_ap(Post([url]), data)
