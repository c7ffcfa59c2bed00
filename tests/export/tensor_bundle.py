"""A bundle for a TensorRT and a GPU that only check, and these in place of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.contract import INPUTS, OPTIONAL_INPUTS, OUTPUTS
from export.manifest import METADATA_KEY, manifest_of, write_manifest
from model.files import sha256_of
from tests.export.engines.fake_gpu import TENSORS, FakeCuda, FakeTensorRT

FILE = "cells-fp16-tensor.onnx"


def write_bundle(folder: Path, weight: float = 1.0) -> Path:
    """A bundle whose graph has the right inputs and outputs, one weight, and computes nothing."""

    def value(name: str) -> onnx.ValueInfoProto:
        kind, shape = TENSORS[name]
        return helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(np.dtype(kind)),
            [None if n < 0 else n for n in shape],
        )

    graph = helper.make_graph(
        [helper.make_node("Identity", ["weight"], ["value"])],
        "cells",
        [value(name) for name in INPUTS],
        [value(name) for name in OUTPUTS["tensor"]],
        [numpy_helper.from_array(np.array([weight], np.float32), "weight")]
        + [
            numpy_helper.from_array(np.zeros(1, TENSORS[name][0]), name) for name in OPTIONAL_INPUTS
        ],
    )
    model = helper.make_model(graph)
    folder.mkdir(exist_ok=True)
    manifest = manifest_of(
        {
            "name": "cells",
            "version": "1",
            "classes": ["a", "b"],
            "anchors": {},
            "canvases": {32: ["32x64", "64x32"], 64: ["64x64"]},
            "default_scale": 32,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.2, 0.2, 0.2],
            "thresholds": {"pre_nms_top_k": 1, "max_detections": 4},
            "graphs": [
                {
                    "file": FILE,
                    "precision": "fp16",
                    "flavour": "tensor",
                    "sha256": "0" * 64,
                    "opset": 18,
                }
            ],
        }
    )
    helper.set_model_props(model, {METADATA_KEY: manifest.facts("fp16", "tensor")})
    (folder / FILE).write_bytes(model.SerializeToString())
    told = manifest.graphs[0].model_copy(update={"sha256": sha256_of(folder / FILE)})
    write_manifest(folder, manifest.model_copy(update={"graphs": [told]}))
    return folder


def fake_tensorrt(monkeypatch: pytest.MonkeyPatch, plans: Path, *modules: str) -> FakeTensorRT:
    """The fake in place of the packages in these modules; plans are kept in the folder `plans`."""
    cuda = FakeCuda()
    fake = FakeTensorRT(cuda)
    for module in modules:
        monkeypatch.setattr(f"{module}.load_tensorrt", lambda: fake)
        monkeypatch.setattr(f"{module}.open_cuda", lambda device: cuda)
    monkeypatch.setenv("RETINASERVE_PLANS", str(plans))
    return fake
