"""An inference answer of the Open Inference Protocol, in JSON or with binary tensors behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from loadtest.protocols.faults import fault_of
from loadtest.protocols.oip_tensors import DTYPES
from loadtest.protocols.protocol import Detection, Malformed
from model.letterbox import Letterbox
from service.oip.answers import HEADER_LENGTH

Tensors = Mapping[str, NDArray[Any]]


class _Parameters(BaseModel):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class _Output(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    parameters: _Parameters = _Parameters()
    data: list[Any] | None = None


class _InferAnswer(BaseModel):
    model_name: str
    outputs: list[_Output]


def read_tensors(headers: Mapping[str, str], body: bytes) -> Tensors:
    """The outputs by name; raises Malformed. Of those without a fixed size (BYTES) only the bounds
    are looked at, and they are not among what is returned.
    """
    length = headers.get(HEADER_LENGTH)
    if length is not None and not length.isdecimal():
        raise Malformed(f"{HEADER_LENGTH} is no number")
    size = len(body) if length is None else int(length)
    if size > len(body):
        raise Malformed(f"{HEADER_LENGTH} is more than the body has")
    try:
        answer = _InferAnswer.model_validate_json(body[:size])
    except ValidationError as error:
        raise Malformed(fault_of(error)) from None
    tensors = {}
    for output in answer.outputs:
        behind = output.parameters.binary_data_size
        data: bytes | list[Any] | None = output.data
        if behind is not None:
            data, size = body[size : size + behind], size + behind
        if dtype := DTYPES.get(output.datatype):
            tensors[output.name] = _tensor(output, data, dtype)
    if size != len(body):
        raise Malformed("the binary tensors are not as long as the JSON says")
    return tensors


def detections_of(
    tensors: Tensors, place: Letterbox | None, labels: Sequence[str]
) -> list[Detection]:
    """The one image's detections, where the outputs are those of our own bundles; else none.

    A class has its index for a label where `labels` has none for it.
    """
    if not {"num_detections", "boxes", "scores", "classes"} <= tensors.keys():
        return []
    try:
        count = int(tensors["num_detections"].reshape(-1)[0])
        boxes = tensors["boxes"].reshape(-1, 4)[:count].astype(np.float32)
        scores = tensors["scores"].reshape(-1)[:count].tolist()
        classes = tensors["classes"].reshape(-1)[:count].tolist()
        if place:
            boxes = place.boxes_to_image(boxes)
        boxes[:, 2:] -= boxes[:, :2]
        rows = zip(boxes.tolist(), scores, classes, strict=True)
        return [
            Detection(tuple(box), labels[index] if index < len(labels) else str(index), score)
            for box, score, index in rows
        ]
    except (ValueError, IndexError):
        raise Malformed("num_detections, boxes, scores and classes don't fit together") from None


def _tensor(output: _Output, data: bytes | list[Any] | None, dtype: str) -> NDArray[Any]:
    try:
        if isinstance(data, bytes):
            flat = np.frombuffer(data, dtype)
        else:
            flat = np.array(data or [], dtype).ravel()
        if flat.size == math.prod(output.shape):
            return flat.reshape(output.shape)
    except (ValueError, TypeError, OverflowError):
        pass
    raise Malformed(f"output {output.name} is not as its datatype and shape say")
