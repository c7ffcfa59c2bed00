"""The Open Inference Protocol: against our own service, and as other servers speak it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from loadtest.protocols.oip import ModelMetadata, Oip, ask_model
from loadtest.protocols.oip_tensors import TensorSpec
from loadtest.protocols.protocol import Call, Detection, Malformed, Picture
from loadtest.traffic.client import Reply, open_client
from loadtest.traffic.sample import Outcome
from model.errors import InputError
from model.letterbox import Canvas, Letterbox
from tests.loadtest.answering import OK, server, with_body
from tests.service.fakes import picture
from tests.service.sockets import Listening, listening

pytestmark = pytest.mark.anyio

LENGTH = "Inference-Header-Content-Length"
LABELS = ("Platelets", "RBC", "WBC")
PICTURE = Picture(picture(160, 128), "cell.png", (128, 160))
SMALL = Picture(picture(80, 64), "small.png", (64, 80))
THREE = [
    Detection((8.0, 16.0, 32.0, 32.0), "RBC", 0.9),
    Detection((0.0, 0.0, 20.0, 10.0), "Platelets", 0.5),
    Detection((50.0, 50.0, 10.0, 20.0), "RBC", 0.25),
]


def url_of(listening: Listening) -> str:
    host, port = listening.address
    return f"http://{host}:{port}"


def model_of(*inputs: TensorSpec) -> ModelMetadata:
    return ModelMetadata(name="cells", versions=["1"], platform="triton", inputs=list(inputs))


def spec(datatype: str, shape: list[int], name: str = "image") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


FILE = spec("BYTES", [-1])


async def asked(protocol: Oip, scale: int | None = None, asked_of: Picture = PICTURE) -> Reply:
    async with open_client(30.0, protocol) as client:
        return await client.ask(protocol.call(0, asked_of, scale), client.now())


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("tensor", [FILE, spec("UINT8", [-1, -1, -1, 3])])
async def test_our_server_answers_files_and_pixels_with_and_without_binary_data(
    binary: bool, tensor: TensorSpec
) -> None:
    async with listening() as serving:
        protocol = Oip([url_of(serving)], model_of(tensor), binary, labels=LABELS)
        sample, answer, said = await asked(protocol)
    assert (sample.outcome, said) == (Outcome.OK, "")
    assert answer is not None
    assert [row.label for row in answer.detections] == ["RBC", "Platelets", "RBC"]
    assert [row.box for row in answer.detections] == [row.box for row in THREE]
    assert [row.score for row in answer.detections] == pytest.approx([0.9, 0.5, 0.25])
    assert (sample.batch, "inference" in sample.stages) == (1, True)


async def test_scale_and_parameters_of_a_file_are_the_servers_business() -> None:
    async with listening() as serving:
        parameters = {"max_detections": 2}
        protocol = Oip([url_of(serving)], model_of(FILE), parameters=parameters)
        sample, _, _ = await asked(protocol, 64)
        assert serving.count('retinaserve_scale_total{scale="64"}') == 1
    assert sample.detections == 2


async def test_the_model_is_found_by_its_name() -> None:
    async with listening() as serving:
        model, binary = await asyncio.to_thread(ask_model, url_of(serving), "cells", {})
        with pytest.raises(InputError, match=r"/v2/models/dogs answers 404: give the name of a"):
            await asyncio.to_thread(ask_model, url_of(serving), "dogs", {})
    assert (model.name, model.inputs, binary) == ("cells", [FILE], True)
    assert Oip(["http://a"], model).describe() == {"model": "cells 1", "engine": "fake-1"}


async def test_a_server_that_is_none_is_told_so() -> None:
    with pytest.raises(InputError, match=r"can't be reached .* is it serving there"):
        ask_model("http://127.0.0.1:9", "cells", {})
    async with server(with_body(OK, "<html>")) as url:
        with pytest.raises(InputError, match="is not as the Open Inference Protocol has it"):
            await asyncio.to_thread(ask_model, url.rstrip("/"), "cells", {})


def sent(call: Call) -> tuple[dict[str, Any], bytes]:
    size = int(call.headers[LENGTH])
    return json.loads(call.body[:size]), call.body[size:]


def test_pixels_are_resized_into_the_shape_that_the_model_asks_for() -> None:
    protocol = Oip(["http://a"], model_of(spec("FP32", [1, 3, 96, 64])))
    call = protocol.call(0, PICTURE, None)
    document, behind = sent(call)
    assert document["inputs"] == [
        {
            "name": "image",
            "datatype": "FP32",
            "shape": [1, 3, 96, 64],
            "parameters": {"binary_data_size": 4 * 3 * 96 * 64},
        }
    ]
    assert document["parameters"] == {"binary_data_output": True}
    pixels = np.frombuffer(behind, "<f4").reshape(3, 96, 64)
    # 160x128 becomes 64x51 at the top left, and the rest is black.
    assert call.place == Letterbox((128, 160), (51, 64), Canvas(96, 64))
    assert pixels[:, 51:].max() == 0.0
    # The picture is red by column and green by row, up to 159 and 127 of 255.
    assert pixels[0, 25, -1] == pytest.approx(158 / 255, abs=0.02)
    assert pixels[1, 50, 32] == pytest.approx(126 / 255, abs=0.02)
    assert call.url == "http://a/v2/models/cells/infer"


def test_where_the_shape_is_open_the_scale_gives_the_canvas() -> None:
    protocol = Oip(["http://a"], model_of(spec("UINT8", [-1, -1, 3])), binary=False)
    as_it_is, scaled = protocol.call(0, PICTURE, None), protocol.call(0, PICTURE, 64)
    assert json.loads(as_it_is.body)["inputs"][0]["shape"] == [128, 160, 3]
    # 4:3 holds a picture of 5:4 at a shorter side of 64.
    assert json.loads(scaled.body)["inputs"][0]["shape"] == [64, 96, 3]
    assert scaled.place is not None
    assert scaled.place.resized == (64, 80)


def test_our_own_bundles_on_another_server_get_the_size_as_well() -> None:
    inputs = [
        spec("UINT8", [-1, -1, -1, 3], "images"),
        spec("INT64", [-1, 2], "image_sizes"),
        spec("FP32", [1], "score_threshold"),
        spec("INT64", [1], "max_detections"),
    ]
    document, behind = sent(Oip(["http://a"], model_of(*inputs)).call(0, PICTURE, 64))
    assert [entry["name"] for entry in document["inputs"]] == ["images", "image_sizes"]
    assert document["inputs"][1]["shape"] == [1, 2]
    assert np.frombuffer(behind[-16:], "<i8").tolist() == [64, 80]


@pytest.mark.parametrize(
    ("inputs", "image", "sentence"),
    [
        ([FILE, spec("BYTES", [-1], "text")], None, "the inputs image, text: say by --input which"),
        ([FILE], "picture", "the inputs image: say by --input which"),
        ([FILE, spec("BYTES", [-1], "text")], "image", "can fill image and image_sizes, but not t"),
        ([spec("INT64", [1, 3, 64, 64])], None, "image is INT64 .* accepted are BYTES, and UINT8"),
        ([spec("FP32", [1, 64, 64, 4])], None, "image is FP32 .* accepted are BYTES, and UINT8"),
        ([spec("FP32", [-1])], None, "image is FP32 .* accepted are BYTES, and UINT8"),
    ],
)
def test_a_model_that_can_not_be_asked_is_refused(
    inputs: list[TensorSpec], image: str | None, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        Oip(["http://a"], model_of(*inputs), image=image)


OUTPUTS = [
    {"name": "num_detections", "datatype": "INT64", "shape": [1], "data": [1]},
    {"name": "boxes", "datatype": "FP32", "shape": [1, 2, 4],
     "data": [[[8, 16, 40, 48], [0, 0, 0, 0]]]},
    {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 0.0]},
    {"name": "classes", "datatype": "INT64", "shape": [1, 2], "data": [7, -1]},
]  # fmt: skip
PLACE = Letterbox((64, 80), (128, 160), Canvas(128, 160))


def answer_of(outputs: Any) -> bytes:
    return json.dumps({"model_name": "cells", "outputs": outputs}).encode()


def test_boxes_of_resized_pixels_are_brought_back_to_the_picture() -> None:
    protocol = Oip(["http://a"], model_of(FILE), labels=LABELS)
    answer = protocol.read(Call("", b"", place=PLACE), {}, answer_of(OUTPUTS))
    # Twice as large on its canvas; of class 7 there is no name.
    assert answer.detections == [Detection((4.0, 8.0, 16.0, 16.0), "7", 0.5)]


def test_outputs_of_other_names_are_an_answer_without_boxes() -> None:
    outputs = [
        {"name": "output0", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1]},
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["cat"]},
    ]
    assert (
        Oip(["http://a"], model_of(FILE)).read(Call("", b""), {}, answer_of(outputs)).detections
        == []
    )


@pytest.mark.parametrize(
    ("outputs", "tail", "length", "why"),
    [
        (None, b"", None, "outputs: Input should be a valid array"),
        ([{"name": "boxes"}], b"", None, "outputs.datatype: Field required"),
        ([{**OUTPUTS[2], "data": [0.5]}], b"", None, "output scores is not as its"),
        ([{**OUTPUTS[2], "data": ["x", 1]}], b"", None, "output scores is not as its"),
        ([{**OUTPUTS[2], "data": None}], b"", None, "output scores is not as its"),
        ([{**OUTPUTS[2], "shape": [1], "data": None}], b"", None, "output scores is not as its"),
        ([{**OUTPUTS[2], "data": 0.5}], b"", None, "outputs.data: Input should be a valid array"),
        ([*OUTPUTS[:3], {**OUTPUTS[3], "shape": [1], "data": [1]}, OUTPUTS[0] | {"data": [2]}],
         b"", None, "num_detections, boxes, scores and classes don't fit together"),
        (OUTPUTS, b"", "x", "Inference-Header-Content-Length is no number"),
        (OUTPUTS, b"", "99999", "Inference-Header-Content-Length is more than the body has"),
        (OUTPUTS, b"1234", "", "the binary tensors are not as long as the JSON says"),
        ([{"name": "scores", "datatype": "FP32", "shape": [1],
           "parameters": {"binary_data_size": 4}}], b"123", "", "output scores is not as its"),
        ([{"name": "text", "datatype": "BYTES", "shape": [1],
           "parameters": {"binary_data_size": 9}}], b"123", "",
         "the binary tensors are not as long as the JSON says"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_malformed_and_says_why(
    outputs: Any, tail: bytes, length: str | None, why: str
) -> None:
    head = answer_of(outputs)
    headers = {} if length is None else {LENGTH: length or str(len(head))}
    with pytest.raises(Malformed, match=f"^{why}"):
        Oip(["http://a"], model_of(FILE)).read(Call("", b""), headers, head + tail)
