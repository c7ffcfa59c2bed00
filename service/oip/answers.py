"""The answer of an inference request: detections as tensors, in JSON or as binary data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

from export.engines.session import Detections
from export.manifest import Manifest
from service.oip.document import OUTPUTS, InferDocument, OutputName, WantedOutput

HEADER_LENGTH = "Inference-Header-Content-Length"

DATATYPES: dict[OutputName, str] = {
    "num_detections": "INT64",
    "boxes": "FP32",
    "scores": "FP32",
    "classes": "INT64",
}
DECIMALS: dict[OutputName, int] = {"boxes": 2, "scores": 5}
"""Of floats in JSON: those of /v1/detect."""


def tensors_of(found: Sequence[Detections], rows: int) -> dict[OutputName, NDArray[Any]]:
    """The output tensors of N images, each padded to D = `rows` detections.

    Shapes: num_detections int64 [N], boxes float32 [N, D, 4] (xyxy, as the detections have them),
    scores float32 [N, D], classes int64 [N, D], -1 in rows that are padding.
    """
    boxes = np.zeros((len(found), rows, 4), "<f4")
    scores = np.zeros((len(found), rows), "<f4")
    classes = np.full((len(found), rows), -1, "<i8")
    for number, one in enumerate(found):
        boxes[number, : len(one)] = one.boxes
        scores[number, : len(one)] = one.scores
        classes[number, : len(one)] = one.classes
    counts = np.array([len(one) for one in found], "<i8")
    return {"num_detections": counts, "boxes": boxes, "scores": scores, "classes": classes}


def infer_response(
    document: InferDocument,
    tensors: dict[OutputName, NDArray[Any]],
    manifest: Manifest,
    headers: dict[str, str],
) -> Response:
    """The outputs that were asked for, in that order; all of them if none was."""
    outputs = []
    binary = []
    for wanted in document.outputs or [WantedOutput(name=name) for name in OUTPUTS]:
        tensor = tensors[wanted.name]
        output: dict[str, Any] = {
            "name": wanted.name,
            "datatype": DATATYPES[wanted.name],
            "shape": list(tensor.shape),
        }
        as_binary = wanted.parameters.binary_data
        if document.parameters.binary_data_output if as_binary is None else as_binary:
            output["parameters"] = {"binary_data_size": tensor.nbytes}
            binary.append(tensor.tobytes())
        elif decimals := DECIMALS.get(wanted.name):
            output["data"] = tensor.astype(np.float64).round(decimals).ravel().tolist()
        else:
            output["data"] = tensor.ravel().tolist()
        outputs.append(output)
    answer = {
        "model_name": manifest.name,
        "model_version": manifest.version,
        **({} if document.id is None else {"id": document.id}),
        "outputs": outputs,
    }
    head = orjson.dumps(answer)
    if not binary:
        return Response(head, 200, headers, "application/json")
    headers = headers | {HEADER_LENGTH: str(len(head))}
    return Response(head + b"".join(binary), 200, headers, "application/octet-stream")
