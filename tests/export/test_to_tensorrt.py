"""Our graphs in NVIDIA's own parser and builder, which TensorRT-RTX runs without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.contract import INPUTS, OPTIONAL_INPUTS
from export.inputs import pictures_of, placed
from export.manifest import Bundle, Thresholds
from export.quantize import quantized
from export.tensorrt_graph import prepared
from export.to_onnx import to_onnx
from export.to_tensorrt import tuned_batch
from export.view import ExportedView
from model.checkpoint import load_checkpoint
from model.letterbox import Canvas
from tests.export.engines.wheels import installed

ROOT = Path(__file__).parents[2]
CANVAS = Canvas(64, 96)

RTX = ("tensorrt-rtx-cu13-libs==1.7.1.116", "tensorrt-rtx-cu13-bindings==1.7.1.116")

BUILD = """
import json, sys
import tensorrt_rtx_libs
import tensorrt_rtx_bindings as trt
from export.engines.tensorrt_api import log_of
from export.engines.tensorrt_plans import BuildRule
from export.tensorrt_graph import prepared
from export.to_tensorrt import compiled, configured, parsed
from model.letterbox import Canvas
path, capability = sys.argv[1:]
log = log_of(trt)
builder = trt.Builder(log)
graph = prepared(open(path, "rb").read()).content
network = parsed(trt, builder, log, graph)
config = configured(trt, builder, [Canvas(64, 96)], BuildRule(max_batch=3))
config.num_compute_capabilities = 1
assert config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
plan = compiled(trt, builder, log, network, config)
tensors = [network.get_input(index) for index in range(network.num_inputs)]
tensors += [network.get_output(index) for index in range(network.num_outputs)]
json.dump([len(plan), {t.name: [t.dtype.name, list(t.shape)] for t in tensors}], sys.stdout)
"""


@pytest.fixture(scope="module")
def graphs(
    tiny_checkpoint: Path, small_scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The tensor flavour of a small detector: fp32, fp16, int8."""
    checkpoint = load_checkpoint(tiny_checkpoint)
    thresholds = Thresholds(pre_nms_top_k=50, max_detections=20)
    made: dict[str, onnx.ModelProto] = {}
    for precision in ("fp32", "fp16"):
        model = checkpoint.build()
        model = model.half() if precision == "fp16" else model
        view = ExportedView(model, checkpoint.mean, checkpoint.std, thresholds, "tensor")
        made[precision] = to_onnx(view)
    pictures = pictures_of(small_scenes / "images", 2)
    feeds = [placed(picture, 64, [CANVAS]).feed for picture in pictures]
    made["int8"] = quantized(made["fp32"], feeds, "tensor", "int8")
    folder = tmp_path_factory.mktemp("graphs")
    for precision, model in made.items():
        onnx.save(model, folder / f"{precision}.onnx")
    return {precision: folder / f"{precision}.onnx" for precision in made}


def build_ahead(wheels: Path, graph: Path, capability: str) -> Any:
    """(bytes of the plan, {tensor: [type, shape]}) from a process that has TensorRT-RTX.

    A refittable plan can't be had so: for one the builder asks the driver to compile.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, graph, capability],
        env=os.environ | {"PYTHONPATH": f"{wheels}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["SM80", "SM89"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_builds_ahead_of_time(
    graphs: dict[str, Path], precision: str, capability: str, request: pytest.FixtureRequest
) -> None:
    wheels = installed(request.config.cache, *RTX)
    size, tensors = build_ahead(wheels, graphs[precision], capability)
    assert size > 100_000
    assert tensors == {
        "images": ["UINT8", [-1, -1, -1, 3]],
        "image_sizes": ["INT64", [-1, 2]],
        "score_threshold": ["FLOAT", [1]],
        "iou_threshold": ["FLOAT", [1]],
        "max_detections": ["INT64", [1]],
        "num_detections": ["INT64", [-1]],
        "boxes": ["FLOAT", [-1, 20, 4]],
        "scores": ["FLOAT", [-1, 20]],
        "classes": ["INT64", [-1, 20]],
        "converged": ["BOOL", [-1]],
        "candidate_boxes": ["FLOAT", [-1, 250, 4]],
        "candidate_scores": ["FLOAT", [-1, 250]],
        "candidate_classes": ["INT64", [-1, 250]],
    }


@pytest.mark.slow
def test_the_cpu_flavour_is_refused_with_its_node(
    tiny_bundle: Bundle, request: pytest.FixtureRequest
) -> None:
    wheels = installed(request.config.cache, *RTX)
    graph = tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32"))
    with pytest.raises(AssertionError, match=r"can't build a plan .*NonMaxSuppression"):
        build_ahead(wheels, graph, "SM89")


@pytest.fixture(scope="module")
def content(tiny_bundle: Bundle) -> bytes:
    """Any graph with optional inputs."""
    return tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32")).read_bytes()


def changed(content: bytes, name: str, factor: float) -> bytes:
    model = onnx.load_model_from_string(content)
    (tensor,) = (entry for entry in model.graph.initializer if entry.name == name)
    values = numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return model.SerializeToString()


def test_prepared_graph_has_no_defaults_of_inputs(content: bytes) -> None:
    """TensorRT's parser takes an initializer for a constant: such an input would be gone."""
    before = onnx.load_model_from_string(content).graph
    after = onnx.load_model_from_string(prepared(content).content).graph
    lost = {t.name for t in before.initializer} - {t.name for t in after.initializer}
    assert lost == set(OPTIONAL_INPUTS)
    assert [value.name for value in after.input] == list(INPUTS)
    assert prepared(content).weights.keys() == {t.name for t in after.initializer}


def test_new_weights_leave_the_skeleton(content: bytes) -> None:
    old = prepared(content)
    name = next(name for name in old.weights if name.endswith("weight"))
    new = prepared(changed(content, name, 2.0))
    assert new.skeleton == old.skeleton
    assert [key for key in new.weights if new.weights[key] != old.weights[key]] == [name]


def test_another_graph_has_another_skeleton(content: bytes) -> None:
    model = onnx.load_model_from_string(content)
    del model.graph.output[-1]
    assert prepared(model.SerializeToString()).skeleton != prepared(content).skeleton


@pytest.mark.parametrize(("largest", "tuned"), [(1, 1), (2, 1), (3, 2), (8, 4), (16, 8)])
def test_kernels_are_chosen_for_half_the_largest_batch(largest: int, tuned: int) -> None:
    assert tuned_batch(largest) == tuned
