"""The unmodified tritonclient against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.export.engines.wheels import installed
from tests.service.fakes import picture
from tests.service.started import FAKE, started

CLIENT = (
    "tritonclient==2.73.0",
    # What tritonclient[http] needs beside numpy and certifi; not in the project's environment,
    # since it holds ml-dtypes back.
    "brotli==1.2.1",
    "gevent==26.9.0",
    "geventhttpclient==2.6.1",
    "greenlet==3.3.2",
    "ml-dtypes==0.5.4",
    "python-rapidjson==1.25",
    "urllib3==2.8.0",
    "zope.event==6.2",
    "zope.interface==8.7",
)


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the script tells of a server whose model finds three things in every image."""
    packages = installed(request.config.cache, *CLIENT)
    with started(FAKE, "0") as (_, url):
        script = str(Path(__file__).parent / "triton_script.py")
        done = subprocess.run(
            [sys.executable, script, url.removeprefix("http://")],
            env=os.environ | {"PYTHONPATH": str(packages)},
            input=picture(), capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_health(found: dict[str, Any]) -> None:
    asked = ("live", "ready", "model_ready", "version_ready", "other_ready")
    assert [found[name] for name in asked] == [True, True, True, True, False]


def test_metadata(found: dict[str, Any]) -> None:
    assert found["server"]["extensions"] == ["binary_tensor_data"]
    assert found["model"]["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert found["no_config"] == ["404", "there is nothing at this path; see /docs"]


def test_several_pictures_in_one_request(found: dict[str, Any]) -> None:
    answer = found["two"]
    assert answer["id"] == "7"
    assert answer["tensors"]["num_detections"] == ["int64", [2], [3, 3]]
    kind, shape, boxes = answer["tensors"]["boxes"]
    assert (kind, shape) == ("float32", [2, 100, 4])
    assert boxes[0][0] == boxes[1][0] == [8.0, 16.0, 40.0, 48.0]
    kind, shape, scores = answer["tensors"]["scores"]
    assert (kind, shape) == ("float32", [2, 100])
    assert scores[1][:4] == pytest.approx([0.9, 0.5, 0.25, 0.0])
    assert answer["tensors"]["classes"][2][1][:4] == [1, 0, 1, -1]


def test_chosen_outputs_and_parameters(found: dict[str, Any]) -> None:
    tensors = found["chosen"]["tensors"]
    assert list(tensors) == ["boxes", "num_detections"]
    assert tensors["num_detections"][2] == [2]
    assert tensors["boxes"][1] == [1, 5, 4]
    assert tensors["boxes"][2][0][1] == [0.0, 0.0, 20.0, 10.0]


def test_pixels_as_json(found: dict[str, Any]) -> None:
    # 64x96 becomes 107x160 on its canvas.
    boxes = found["pixels"]["tensors"]["boxes"][2]
    assert boxes[0][0] == pytest.approx([4.8, 9.6, 24.0, 28.8], abs=0.2)


def test_asynchronous(found: dict[str, Any]) -> None:
    assert found["async"]["tensors"]["num_detections"][2] == [3]


def test_errors_are_raised_with_status_and_sentence(found: dict[str, Any]) -> None:
    status, message = found["bad_picture"]
    assert status == "415"
    assert message.startswith("the content is no picture type taken here")
    status, message = found["bad_model"]
    assert (status, message) == ("404", "there is no model 'other'; served is cells version 1")
    assert found["compressed"][0] == "415"


def test_a_packed_answer_may_come_plain(found: dict[str, Any]) -> None:
    assert found["packed"] == [3]
