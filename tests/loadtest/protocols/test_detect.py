"""Calls to our own servers and their answers, against the service itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loadtest.protocols.detect import Detect
from loadtest.protocols.protocol import Call, Detection, Malformed, Picture
from loadtest.traffic.client import open_client
from loadtest.traffic.sample import Outcome
from model.errors import InputError
from tests.service.fakes import picture
from tests.service.sockets import Listening, listening

pytestmark = pytest.mark.anyio

# As large as its canvas: boxes come back as the fake session finds them.
PICTURE = Picture(picture(160, 128), "cell.png", (128, 160))

THREE = [
    Detection((8.0, 16.0, 32.0, 32.0), "RBC", 0.9),
    Detection((0.0, 0.0, 20.0, 10.0), "Platelets", 0.5),
    Detection((50.0, 50.0, 10.0, 20.0), "RBC", 0.25),
]
ANSWER = b"""{"model": {"name": "cells", "version": "1"}, "image": {"width": 9, "height": 9},
"scale": 64, "detections": [{"box": [1, 2, 4, 8], "score": 0.5, "label": "WBC", "class_index": 2}],
"timings_ms": {"decode": 1, "queue": 0, "inference": 2, "postprocess": 0}}"""


def url_of(server: Listening) -> str:
    host, port = server.address
    return f"http://{host}:{port}"


@pytest.mark.parametrize("kind", ["raw", "multipart", "json"])
async def test_each_kind_of_body_is_answered_and_read(kind: Any) -> None:
    async with listening() as server:
        protocol = Detect([url_of(server)], {kind: 1.0})
        async with open_client(30.0, protocol) as client:
            call = protocol.call(0, PICTURE, None)
            sample, answer, _ = await client.ask(call, client.now())
    assert (sample.outcome, sample.why) == (Outcome.OK, "")
    assert answer is not None
    assert answer.detections == THREE
    assert list(sample.stages) == ["decode", "queue", "inference", "postprocess"]
    assert (sample.detections, sample.batch) == (3, 1)


async def test_key_query_and_scale_reach_the_server() -> None:
    async with listening(api_key="secret") as server:
        url = url_of(server)
        query = {"max_detections": "2"}
        for headers, outcome in (
            ({}, Outcome.CLIENT_ERROR),
            ({"X-API-Key": "secret"}, Outcome.OK),
        ):
            protocol = Detect([url], headers=headers, query=query)
            async with open_client(30.0, protocol) as client:
                sample = await client.send(protocol.call(0, PICTURE, 64), client.now())
            assert sample.outcome is outcome
        assert sample.detections == 2
        assert server.count('retinaserve_scale_total{scale="64"}') == 1


def test_calls_say_where_they_go_and_what_they_hold() -> None:
    protocol = Detect(["http://a/", "http://b/v1/detect"], {"raw": 1.0}, {"X-A": "1"}, {"q": "ä&"})
    first, second = protocol.call(0, PICTURE, None), protocol.call(1, PICTURE, 480)
    assert first == Call(
        "http://a/v1/detect?q=%C3%A4%26",
        PICTURE.data,
        {"Content-Type": "application/octet-stream", "X-A": "1"},
    )
    assert (second.url, second.server) == ("http://b/v1/detect?q=%C3%A4%26&scale=480", 1)


def test_a_body_is_made_once() -> None:
    protocol = Detect(["http://a"], {"json": 1.0})
    assert protocol.call(0, PICTURE, None).body is protocol.call(7, PICTURE, 64).body


def test_answer_is_read_as_pixels_with_width_and_height() -> None:
    answer = Detect(["http://a"]).read(Call("", b""), {}, ANSWER)
    assert answer.detections == [Detection((1.0, 2.0, 3.0, 6.0), "WBC", 0.5)]
    assert (answer.stages_ms, answer.batch) == ({}, None)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (ANSWER[:-9], "not JSON"),
        (b"[]", "Input should be an object"),
        (ANSWER.replace(b'"scale"', b'"size"'), "scale: Field required"),
        (ANSWER.replace(b"[1, 2, 4, 8]", b"[1, 2, 4]"), "detections.box: Field required"),
        (ANSWER.replace(b'"score": 0.5', b'"score": null'), "detections.score: Input should be"),
    ],
)
def test_what_is_no_answer_is_malformed_and_says_why(body: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=f"^{why}"):
        Detect(["http://a"]).read(Call("", b""), {}, body)


def test_boxes_of_another_format_are_not_asked_for() -> None:
    with pytest.raises(InputError, match="box_format: the load test reads xyxy"):
        Detect(["http://a"], query={"box_format": "normalized"})


async def test_servers_say_what_they_serve() -> None:
    async with listening() as server:
        protocol = Detect([url_of(server), "http://127.0.0.1:9"])
        facts = await asyncio.to_thread(protocol.describe)
    assert facts == {
        "model": "cells 1",
        "engine": "fake-1, fp32",
        "scales": "64, 128",
        "default scale": "128",
        "classes": "Platelets, RBC, WBC",
    }
