from __future__ import annotations

import base64
import json
import math
import re
import struct
import sys

import httpx
import pytest

from loadtest.bench.prepared import pictures_to_time
from loadtest.cli.peers import Figures, chosen_of, main
from loadtest.peers.bare_fastapi import app_of
from loadtest.peers.detector import Detector
from loadtest.peers.server import PEERS
from loadtest.protocols.protocol import Call
from model.errors import InputError

JPEG = b"\xff\xd8 a picture"


def call(name: str) -> Call:
    return PEERS[name].call("http://peer", JPEG)


def test_each_peer_is_sent_the_whole_picture_in_its_own_form() -> None:
    assert (call("fastapi").url, call("fastapi").body) == ("http://peer/detect", JPEG)
    assert json.loads(call("litserve").body) == {"image": base64.b64encode(JPEG).decode()}
    form = call("bentoml")
    assert form.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="image"' in form.body
    assert JPEG in form.body


def test_pytriton_is_sent_a_binary_tensor() -> None:
    sent = call("pytriton")
    size = int(sent.headers["Inference-Header-Content-Length"])
    (image,) = json.loads(sent.body[:size])["inputs"]
    tensor = sent.body[size:]
    assert (image["datatype"], image["shape"]) == ("BYTES", [1, 1])
    assert image["parameters"]["binary_data_size"] == len(tensor)
    assert struct.unpack("<I", tensor[:4]) == (len(JPEG),)
    assert tensor[4:] == JPEG


def test_a_peer_runs_in_the_python_that_is_named() -> None:
    assert chosen_of("fastapi") == ("fastapi", sys.executable)
    assert chosen_of(f"litserve={sys.executable}") == ("litserve", sys.executable)
    with pytest.raises(InputError, match="'torchserve' is no peer: accepted are fastapi, lit"):
        chosen_of("torchserve")
    with pytest.raises(InputError, match="litserve: there is no Python at /nowhere"):
        chosen_of("litserve=/nowhere")


@pytest.mark.anyio
async def test_the_bare_peer_answers_like_the_service() -> None:
    (picture, *_), _ = pictures_to_time(None)
    transport = httpx.ASGITransport(app_of(Detector()))
    async with httpx.AsyncClient(transport=transport, base_url="http://peer") as client:
        answer = (await client.post("/detect", content=picture)).json()
    assert answer["model"]["name"] == "cells"
    assert answer["image"] == {"width": 640, "height": 480}
    assert {row["label"] for row in answer["detections"]} >= {"RBC", "WBC"}


def test_a_line_tells_rounds_by_their_spread_and_load_by_percentiles() -> None:
    found = Figures([1.0, 2.0, 3.0], [20.0], [float(n) for n in range(101)], 4)
    assert found.text() == (
        "idle +2.0 (1.2-2.8) ms; 20.0 (20.0-20.0) images/s; "
        "under load p50 50, p90 90, p99 99 ms, 4 failed"
    )


def test_who_is_not_answered_has_waited_for_ever() -> None:
    found = Figures([1.0], [20.0], [50.0] * 98 + [math.inf] * 2, 2)
    assert found.text().endswith("p50 50, p90 50, p99 inf ms, 2 failed")


@pytest.mark.slow
def test_ours_and_a_peer_are_measured_in_turns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fastapi", "--rounds", "1", "--seconds", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"1 of 1: \d+\.\d images/s in process", lines[1])
    assert [line.split()[0] for line in lines[2:]] == ["retinaserve", "fastapi"]
    assert all(line.endswith("ms, 0 failed") for line in lines[2:])
