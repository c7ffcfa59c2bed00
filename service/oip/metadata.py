"""What the Open Inference Protocol has a server and its model say of themselves."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from export.manifest import Manifest
from service.oip.answers import DATATYPES
from service.oip.tensors import INPUT

EXTENSIONS = ["binary_tensor_data"]

SHAPES = {"num_detections": [-1], "boxes": [-1, -1, 4], "scores": [-1, -1], "classes": [-1, -1]}


def server_metadata() -> dict[str, Any]:
    """The answer of GET /v2."""
    try:
        version = metadata.version("retinaserve")
    except metadata.PackageNotFoundError:  # the source tree alone
        version = ""
    return {"name": "retinaserve", "version": version, "extensions": EXTENSIONS}


def model_metadata(manifest: Manifest, engine: str) -> dict[str, Any]:
    """The answer of GET /v2/models/NAME; the protocol has one datatype for an input.

    So the other form of it, UINT8 [N, H, W, 3], is not told.
    """
    return {
        "name": manifest.name,
        "versions": [manifest.version],
        "platform": engine,
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": SHAPES[name]}
            for name, datatype in DATATYPES.items()
        ],
    }
