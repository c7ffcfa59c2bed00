"""The Open Inference Protocol without its client: JSON, binary data, errors."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from service.oip.document import InferDocument
from tests.service.fakes import FakeSession, HeldEngine, make_manifest, picture

pytestmark = pytest.mark.anyio

PNG = picture()
INFER = "/v2/models/cells/infer"
LENGTH = "Inference-Header-Content-Length"


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def asking(*pictures: bytes, **members: Any) -> dict[str, Any]:
    data = [text_of(data) for data in pictures]
    tensor = {"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}
    return {"inputs": [tensor], **members}


def binary_request(
    tensor: bytes, shape: list[int], datatype: str, **members: Any
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a request whose one input is binary data."""
    size = {"binary_data_size": len(tensor)}
    given = {"name": "image", "shape": shape, "datatype": datatype, "parameters": size}
    head = json.dumps({"inputs": [given], **members}).encode()
    return head + tensor, {LENGTH: str(len(head))}


def elements(*pictures: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(data)) + data for data in pictures)


async def outputs_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


async def test_server_and_model_say_what_they_are(serving):
    async with serving() as client:
        server = (await client.get("/v2")).json()
        model = (await client.get("/v2/models/cells")).json()
        versioned = (await client.get("/v2/models/cells/versions/1")).json()
    assert (server["name"], server["extensions"]) == ("retinaserve", ["binary_tensor_data"])
    assert model == versioned
    assert model == {
        "name": "cells",
        "versions": ["1"],
        "platform": "fake-1",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "num_detections", "datatype": "INT64", "shape": [-1]},
            {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "classes", "datatype": "INT64", "shape": [-1, -1]},
        ],
    }


async def test_health_follows_the_server(serving):
    paths = ("/v2/health/live", "/v2/health/ready", "/v2/models/cells/ready")
    engine = HeldEngine()
    engine.hold = False
    apps: list[Any] = []
    async with serving(engine=engine, app_of=apps.append) as client:
        ready = [await client.get(path) for path in paths]
        apps[0].state.runtime.begin_drain()
        draining = [await client.get(path) for path in paths]
    assert [answer.status_code for answer in ready] == [200, 200, 200]
    assert ready[2].json() == {"name": "cells", "ready": True}
    assert [answer.status_code for answer in draining] == [200, 503, 503]
    assert draining[1].json()["error"] == "the server is shutting down"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other",
        "/v2/models/cells/versions/2",
        "/v2/models/other/ready",
        "/v2/models/cells/versions/7/ready",
        "/v2/models/cells/config",
        "/v2/nothing",
    ],
)
async def test_what_is_not_served_is_a_404_with_error(serving, path):
    async with serving() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["error"] == answer.json()["detail"]


async def test_infer_of_another_model_is_refused_before_the_upload(serving):
    async with serving() as client:
        answer = await client.post("/v2/models/dogs/versions/4/infer", content=b"{")
    assert answer.status_code == 404
    assert answer.json()["error"] == (
        "there is no model 'dogs version 4'; served is cells version 1"
    )


async def test_json_answers_with_padded_tensors_in_image_pixels(serving):
    async with serving() as client:
        request = asking(picture(80, 128), id="42", parameters={"max_detections": 4})
        answer = await client.post(INFER, json=request)
    # 80x128 becomes 100x160 on its canvas: what is found there lies 1.25 times nearer.
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "model_name": "cells",
        "model_version": "1",
        "id": "42",
        "outputs": [
            {"name": "num_detections", "datatype": "INT64", "shape": [1], "data": [3]},
            {
                "name": "boxes",
                "datatype": "FP32",
                "shape": [1, 4, 4],
                "data": [6.4, 12.8, 32.0, 38.4, 0.0, 0.0, 16.0, 8.0, 40.0, 40.0, 48.0, 56.0]
                + [0.0] * 4,
            },
            {"name": "scores", "datatype": "FP32", "shape": [1, 4], "data": [0.9, 0.5, 0.25, 0.0]},
            {"name": "classes", "datatype": "INT64", "shape": [1, 4], "data": [1, 0, 1, -1]},
        ],
    }


async def test_the_same_boxes_as_v1_detect(serving):
    async with serving() as client:
        detected = (await client.post("/v1/detect", content=PNG)).json()["detections"]
        outputs = await outputs_of(await client.post(INFER, json=asking(PNG)))
    count = outputs["num_detections"]["data"][0]
    assert count == len(detected) == 3
    assert outputs["boxes"]["data"][: 4 * count] == [v for found in detected for v in found["box"]]
    assert outputs["scores"]["data"][:count] == [found["score"] for found in detected]
    assert outputs["classes"]["data"][:count] == [found["class_index"] for found in detected]


async def test_binary_data_both_ways(serving):
    body, headers = binary_request(
        elements(PNG, picture(40, 64)), [2], "BYTES", parameters={"binary_data_output": True}
    )
    async with serving() as client:
        answer = await client.post(INFER, content=body, headers=headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    size = int(answer.headers[LENGTH])
    outputs = json.loads(answer.content[:size])["outputs"]
    assert [o["parameters"]["binary_data_size"] for o in outputs] == [16, 3200, 800, 1600]
    rest = answer.content[size:]
    assert len(rest) == 16 + 3200 + 800 + 1600
    assert np.frombuffer(rest[:16], "<i8").tolist() == [3, 3]
    boxes = np.frombuffer(rest[16:3216], "<f4").reshape(2, 100, 4)
    # The first picture is as large as its canvas, the second is enlarged 2.5 times.
    assert boxes[0, 0].tolist() == [8.0, 16.0, 40.0, 48.0]
    assert boxes[1, 0].tolist() == pytest.approx([3.2, 6.4, 16.0, 19.2])
    assert not boxes[:, 3:].any()


async def test_pixels_are_an_image_of_their_own_size(serving):
    pixels = np.zeros((2, 64, 96, 3), np.uint8)
    body, headers = binary_request(pixels.tobytes(), [2, 64, 96, 3], "UINT8")
    session = FakeSession()
    async with serving(session) as client:
        answer = await client.post(INFER, content=body, headers=headers)
        outputs = await outputs_of(answer)
        nested = await client.post(
            INFER,
            json={
                "inputs": [
                    {
                        "name": "image",
                        "shape": [1, 2, 2, 3],
                        "datatype": "UINT8",
                        "data": [[[[255, 0, 0], [255, 0, 0]], [[255, 0, 0], [255, 0, 0]]]],
                    }
                ]
            },
        )
    assert outputs["num_detections"]["data"] == [3, 3]
    assert nested.status_code == 200


async def test_pixels_reach_the_engine_as_they_are(serving):
    seen: list[Any] = []
    pixels = np.random.default_rng(0).integers(0, 256, (1, 128, 160, 3), np.uint8)
    body, headers = binary_request(pixels.tobytes(), [1, 128, 160, 3], "UINT8")

    def keep(images: Any) -> None:
        seen.append(images.copy())

    async with serving(FakeSession(on_run=keep)) as client:
        assert (await client.post(INFER, content=body, headers=headers)).status_code == 200
    assert np.array_equal(seen[-1], pixels)


async def test_outputs_are_those_asked_for_in_that_order(serving):
    request = asking(
        PNG,
        outputs=[
            {"name": "scores"},
            {"name": "num_detections", "parameters": {"binary_data": True}},
        ],
    )
    async with serving() as client:
        answer = await client.post(INFER, json=request)
    size = int(answer.headers[LENGTH])
    outputs = json.loads(answer.content[:size])["outputs"]
    assert [output["name"] for output in outputs] == ["scores", "num_detections"]
    assert outputs[0]["data"][:4] == [0.9, 0.5, 0.25, 0.0]
    assert outputs[1]["parameters"] == {"binary_data_size": 8}
    assert answer.content[size:] == struct.pack("<q", 3)


async def test_an_output_may_stay_json_where_the_rest_is_binary(serving):
    request = asking(
        PNG,
        parameters={"binary_data_output": True},
        outputs=[{"name": "classes", "parameters": {"binary_data": False}}],
    )
    async with serving() as client:
        outputs = await outputs_of(await client.post(INFER, json=request))
    assert outputs["classes"]["data"][:4] == [1, 0, 1, -1]


async def test_parameters_are_those_of_v1_detect(serving):
    session = FakeSession()
    async with serving(session) as client:
        parameters = {"score_threshold": 0.4, "iou_threshold": 0.25, "scale": 64}
        outputs = await outputs_of(
            await client.post(INFER, json=asking(PNG, parameters=parameters))
        )
        shape, _, score_threshold, iou_threshold = session.runs[-1]
    assert outputs["num_detections"]["data"] == [2]
    assert (shape, score_threshold, iou_threshold) == ((1, 64, 96, 3), 0.05, 0.25)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"inputs": [asking(PNG)["inputs"][0] | changes]}


BAD = [
    ([], "the JSON body is a list: accepted are objects with inputs"),
    ({}, "inputs is missing: accepted are lists of objects with name, shape, datatype"),
    ({"inputs": []}, "the inputs are none; accepted is one, 'image'"),
    (tensor(name="images"), "the inputs are 'images'; accepted is one, 'image'"),
    ({"inputs": asking(PNG)["inputs"] * 2}, "the inputs are 'image', 'image'; accepted is one"),
    (tensor(datatype="FP32"), "image is FP32 [1]; accepted are BYTES [N]"),
    (tensor(datatype="UINT8"), "image is UINT8 [1]; accepted are BYTES [N]"),
    (tensor(shape=[1, 1]), "image is BYTES [1, 1]; accepted are BYTES [N]"),
    (tensor(shape=[-1]), "inputs.0.shape.0 is -1: accepted are whole numbers from 0"),
    (tensor(shape=[0], data=[]), "image holds no image"),
    (tensor(shape=[2]), "image holds 1 elements, but its shape says 2"),
    (tensor(data=[text_of(PNG)] * 3), "image holds 3 elements, but its shape says 1"),
    (tensor(shape=[33]), "too many images: one request may hold up to 32"),
    (tensor(data=[""]), "one of the elements of image is empty"),
    (tensor(data=["!"]), "image.data[0] is not base64"),
    (tensor(data=[7]), "image.data[0] must be a string"),
    (tensor(data="abc"), "image.data must be a list of base64 strings"),
    (tensor(data=None), "image.data must be a list of base64 strings"),
    (tensor(data=["http://a/b.png"]), "image.data[0] is a URL: images are not fetched"),
    (tensor(parameters={"binary_data_size": 4}), "binary_data_size is 4, but 0 bytes follow"),
    (
        tensor(parameters={"shared_memory_region": "a"}),
        "inputs.0.parameters.shared_memory_region is not known: accepted are binary_data_size",
    ),
    (
        asking(PNG, outputs=[{"name": "masks"}]),
        "outputs.0.name is 'masks': accepted are num_detections, boxes, scores, classes",
    ),
    (
        asking(PNG, outputs=[{"name": "boxes", "parameters": {"classification": 3}}]),
        "outputs.0.parameters.classification is not known: accepted are binary_data",
    ),
    (asking(PNG, id=7), "id is 7: accepted are texts in UTF-8"),
    (asking(PNG, id="\ud800"), "id is '\\ud800': accepted are texts in UTF-8"),
    (tensor(datatype="\ud800"), "inputs.0.datatype is '\\ud800': accepted are texts in UTF-8"),
    (
        asking(PNG, parameters={"treshold": 1}),
        "parameters.treshold is not known: accepted are binary_data_output, timeout, "
        "score_threshold, iou_threshold, max_detections, scale",
    ),
    (
        asking(PNG, parameters={"score_threshold": 2}),
        "parameters.score_threshold is 2: accepted are numbers from 0 to 1",
    ),
    (
        asking(PNG, parameters={"scale": "abc"}),
        "parameters.scale is 'abc': accepted are whole numbers, one of the bundle's scales, see ",
    ),
    (asking(PNG, parameters={"scale": 65}), "scale is 65; accepted are this bundle's: 64, 128"),
    (asking(PNG, parameters={"max_detections": 0}), "max_detections is 0; accepted is 1 to 300"),
    (
        asking(PNG, parameters={"timeout": 0}),
        "parameters.timeout is 0: accepted are whole numbers from 1 to 60000000",
    ),
]


@pytest.mark.parametrize(("document", "sentence"), BAD)
async def test_what_is_wrong_is_a_400_that_names_it(serving, document, sentence):
    async with serving() as client:
        answer = await client.post(INFER, content=json.dumps(document))
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_a_list_is_refused_at_its_first_bad_element():
    with pytest.raises(ValidationError) as shape:
        InferDocument.model_validate(tensor(shape=["x"] * 3))
    with pytest.raises(ValidationError) as inputs:
        InferDocument.model_validate({"inputs": [3] * 3, "outputs": []})
    with pytest.raises(ValidationError) as outputs:
        InferDocument.model_validate(asking(PNG, outputs=[3] * 3))
    assert [found.value.error_count() for found in (shape, inputs, outputs)] == [1, 1, 1]


def pixels_of(data: Any, shape: tuple[int, ...] = (1, 1, 2, 3)) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "shape": shape, "datatype": "UINT8", "data": data}]}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([1, 2, 3, 4, 5], "image holds 5 values, but its shape is [1, 1, 2, 3]"),
        ([1, 2, 3, 4, 5, 256], "image.data must be whole numbers from 0 to 255"),
        ([1, 2, 3, 4, 5, -1], "image.data must be whole numbers from 0 to 255"),
        ([1, 2, 3, 4, 5, 10**40], "image.data must be whole numbers from 0 to 255"),
        ([1, 2, 3, 4, 5, 0.5], "image.data must be whole numbers from 0 to 255"),
        ([1, 2, 3, 4, 5, "6"], "image.data must be whole numbers from 0 to 255"),
        ([[1, 2], [3]], "image.data must be whole numbers from 0 to 255"),
        ([True] * 6, "image.data must be whole numbers from 0 to 255"),
        (None, "image.data must be whole numbers from 0 to 255"),
        ({"a": 1}, "image.data must be whole numbers from 0 to 255"),
    ],
)
async def test_pixels_that_are_none_are_a_400(serving, data, sentence):
    async with serving() as client:
        answer = await client.post(INFER, json=pixels_of(data))
    assert (answer.status_code, answer.json()["error"][: len(sentence)]) == (400, sentence)


@pytest.mark.parametrize(
    ("shape", "status"), [((1, 0, 2, 3), 400), ((1, 10_000, 10_000, 3), 413), ((1, 2, 2, 4), 400)]
)
async def test_pixels_of_an_impossible_size_are_refused(serving, shape, status):
    async with serving() as client:
        answer = await client.post(INFER, json=pixels_of([1], shape))
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda body, size: (body, str(10**9)), "Inference-Header-Content-Length is 1000000000"),
        (lambda body, size: (body, "-1"), "Inference-Header-Content-Length is '-1': no number"),
        (lambda body, size: (body, "9" * 5000), "no number"),
        (lambda body, size: (body[:-1], str(size)), "binary_data_size is"),
        (lambda body, size: (body + b"x", str(size)), "binary_data_size is"),
        (lambda body, size: (body, str(size - 1)), "the body is not JSON"),
        (lambda body, size: (body, None), "the"),
    ],
)
async def test_binary_data_that_do_not_add_up_are_a_400(serving, spoil, sentence):
    body, headers = binary_request(elements(PNG), [1], "BYTES")
    body, length = spoil(body, int(headers[LENGTH]))
    async with serving() as client:
        given = {} if length is None else {LENGTH: length}
        answer = await client.post(INFER, content=body, headers=given)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


@pytest.mark.parametrize(
    ("tensor", "count", "sentence"),
    [
        (elements(PNG)[:-1], 1, "the binary data of image are cut short within an element"),
        (elements(PNG) + b"\1\0", 1, "the binary data of image are cut short within an element"),
        (b"\xff\xff\xff\xff", 1, "the binary data of image are cut short within an element"),
        (elements(PNG, PNG), 1, "image holds 2 elements, but its shape says 1"),
        (elements(PNG), 2, "image holds 1 elements, but its shape says 2"),
        (elements(b""), 1, "one of the elements of image is empty"),
        (b"", 1, "image holds 0 elements, but its shape says 1"),
    ],
)
async def test_elements_that_do_not_fit_are_a_400(serving, tensor, count, sentence):
    body, headers = binary_request(tensor, [count], "BYTES")
    async with serving() as client:
        answer = await client.post(INFER, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, sentence)


async def test_data_beside_binary_data_are_a_400(serving):
    given = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["aa"]}
    given["parameters"] = {"binary_data_size": 8}
    head = json.dumps({"inputs": [given]}).encode()
    async with serving() as client:
        answer = await client.post(
            INFER, content=head + b"\4\0\0\0aaaa", headers={LENGTH: str(len(head))}
        )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("image has data as well as binary_data_size")


async def test_json_of_too_many_values_is_not_even_parsed(serving):
    async with serving() as client:
        answer = await client.post(INFER, content=b"[" + b"[]," * 1_000_000 + b"0]")
        deep = await client.post(INFER, content=b"[" * 100_000)
    assert answer.status_code == 400
    assert "the JSON holds more than 2,000,000 values" in answer.json()["error"]
    assert (deep.status_code, deep.json()["error"]) == (400, "the JSON body nests too deep")


async def test_a_bad_image_fails_the_request_and_is_named(serving):
    async with serving() as client:
        several = await client.post(INFER, json=asking(PNG, PNG[:60], PNG))
        alone = await client.post(INFER, json=asking(b"GIF"))
    assert (several.status_code, several.json()["code"]) == (422, "undecodable")
    assert several.json()["error"].startswith("image[1]: the PNG does not decode")
    assert several.headers["content-type"] == "application/problem+json"
    assert (alone.status_code, alone.json()["code"]) == (415, "unsupported_type")
    assert alone.json()["error"].startswith("the content is no picture type")


async def test_a_timeout_is_in_microseconds_and_counts_from_arrival(serving):
    engine = HeldEngine()
    engine.hold = False
    async with serving(engine=engine) as client:
        engine.hold = True
        late = await client.post(INFER, json=asking(PNG, parameters={"timeout": 300_000}))
        engine.release_all()
        fine = await client.post(INFER, json=asking(PNG, parameters={"timeout": 60_000_000}))
    assert (late.status_code, late.json()["code"]) == (504, "deadline_passed")
    assert fine.status_code == 200


async def test_the_key_is_asked_for(serving):
    async with serving(api_key="secret") as client:
        none = await client.post(INFER, json=asking(PNG))
        right = await client.post(INFER, json=asking(PNG), headers={"X-API-Key": "secret"})
        model = await client.get("/v2/models/cells")
    assert (none.status_code, none.json()["code"]) == (401, "unauthorized")
    assert none.json()["error"].startswith("an API key is needed")
    assert (right.status_code, model.status_code) == (200, 200)


async def test_a_compressed_body_is_refused(serving):
    async with serving() as client:
        answer = await client.post(INFER, content=b"x", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (
        415,
        "Content-Encoding 'gzip': send the body as it is",
    )


async def test_a_quota_counts_every_image(serving):
    async with serving(quota_images_per_s=0.001, quota_burst=3) as client:
        first = await client.post(INFER, json=asking(PNG, PNG, PNG))
        second = await client.post(INFER, json=asking(PNG))
    assert (first.status_code, second.status_code) == (200, 429)


async def test_counts_go_by_route_whatever_the_names(serving):
    async with serving() as client:
        await client.post(INFER, json=asking(PNG, PNG))
        await client.post("/v2/models/cells/versions/1/infer", json=asking(PNG))
        for number in range(20):
            await client.post(f"/v2/models/junk{number}/infer", json=asking(PNG))
            await client.get(f"/v2/models/cells/versions/{number}/junk")
        text = (await client.get("/metrics")).text
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    infer = "/v2/models/{name}/infer"
    assert samples["retinaserve_requests_received_total", infer] == 22
    assert samples["retinaserve_requests_total", infer, "ok"] == 2
    assert samples["retinaserve_requests_total", infer, "client_error"] == 20
    assert samples["retinaserve_images_total", "ok"] == 3
    assert samples["retinaserve_request_duration_seconds_count",] == 22
    seconds = sum(
        value
        for key, value in samples.items()
        if key[0] == "retinaserve_stage_duration_seconds_sum"
    )
    assert seconds == pytest.approx(samples["retinaserve_request_duration_seconds_sum",])
    assert "junk" not in text


async def test_the_name_is_the_manifests(serving):
    session = FakeSession(make_manifest(name="dogs"))
    async with serving(session) as client:
        assert (await client.post(INFER, json=asking(PNG))).status_code == 404
        answer = await client.post("/v2/models/dogs/infer", json=asking(PNG))
    assert answer.json()["model_name"] == "dogs"
