"""The logic of ONNX Runtime's CUDA session without a GPU: a stand-in that keeps its rules."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from export.engines import onnxruntime_cuda, onnxruntime_session
from export.engines.device import Device
from export.engines.onnxruntime_cuda import OnnxRuntimeCudaSession
from export.engines.session import OutOfMemory
from export.manifest import METADATA_KEY, Bundle, BundleError, Graph, Thresholds
from model.errors import InputError
from model.files import sha256_of
from tests.service.fakes import make_manifest

CAP = 4
NAMES = {
    "inputs": ("images", "image_sizes"),
    "optional": ("score_threshold", "iou_threshold", "max_detections"),
    "outputs": (
        "num_detections", "boxes", "scores", "classes", "converged",
        "candidate_boxes", "candidate_scores", "candidate_classes",
    ),
}  # fmt: skip


class OrtValue:
    """A tensor on the device; the host sees it only through `update_inplace` and `numpy`."""

    fetched = 0

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    @classmethod
    def ortvalue_from_numpy(cls, value: np.ndarray, device_type: str, device_id: int) -> OrtValue:
        assert (device_type, device_id) == ("cuda", 1)
        return cls(value.copy())

    @classmethod
    def ortvalue_from_shape_and_type(
        cls, shape: tuple[int, ...], element_type: type, device_type: str, device_id: int
    ) -> OrtValue:
        assert (device_type, device_id) == ("cuda", 1)
        return cls(np.zeros(shape, element_type))

    def update_inplace(self, data: np.ndarray) -> None:
        assert data.flags.c_contiguous
        assert (data.shape, data.dtype) == (self.value.shape, self.value.dtype)
        self.value[...] = data

    def numpy(self) -> np.ndarray:
        OrtValue.fetched += 1
        return self.value.copy()


class IOBinding:
    def __init__(self) -> None:
        self.inputs: dict[str, OrtValue] = {}
        self.outputs: dict[str, OrtValue] = {}

    def bind_ortvalue_input(self, name: str, value: OrtValue) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: OrtValue) -> None:
        self.outputs[name] = value


class Machine:
    """What is installed and what the graph is made of."""

    def __init__(self, facts: str) -> None:
        self.facts = facts
        self.available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        self.starts = True
        self.capturable = True
        self.host_nodes = [("node_Shape_0", "Shape"), ("node_nms", "NonMaxSuppression")]
        self.converged = True
        self.options: list[dict[str, str]] = []
        self.sessions: list[InferenceSession] = []


class InferenceSession:
    """Finds in each image one box, the valid image, with its first pixel / 255 as the score."""

    def __init__(
        self, machine: Machine, path: str, options: Any, providers: Any, enable_fallback: int
    ) -> None:
        assert enable_fallback == 0
        (name, given), host = providers
        assert (name, host) == ("CUDAExecutionProvider", "CPUExecutionProvider")
        key = "session.record_ep_graph_assignment_info"
        assert options.get_session_config_entry(key) == "1"
        machine.options.append(given)
        if given["enable_cuda_graph"] == "1" and not machine.capturable:
            raise RuntimeError("This session cannot use the graph capture feature")
        self.machine = machine
        self.captured: dict[str, tuple[IOBinding, list[int]]] = {}
        self.captures = given["enable_cuda_graph"] == "1"
        machine.sessions.append(self)

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map={METADATA_KEY: self.machine.facts})

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in NAMES["inputs"]]

    def get_overridable_initializers(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in NAMES["optional"]]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in NAMES["outputs"]]

    def get_providers(self) -> list[str]:
        return self.machine.available if self.machine.starts else ["CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        nodes = [SimpleNamespace(name=n, op_type=op) for n, op in self.machine.host_nodes]
        return [
            SimpleNamespace(ep_name="CUDAExecutionProvider", get_nodes=list),
            SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes),
        ]

    def io_binding(self) -> IOBinding:
        return IOBinding()

    def run_with_iobinding(self, bound: IOBinding, options: Any) -> None:
        tensors = [*bound.inputs.values(), *bound.outputs.values()]
        if self.captures:
            graph = options.get_run_config_entry("gpu_graph_id")
            assert int(graph) > 0
            addresses = [value.value.ctypes.data for value in tensors]
            assert self.captured.setdefault(graph, (bound, addresses)) == (bound, addresses)
        images = bound.inputs["images"].value
        if images.shape[1] == 32:
            raise RuntimeError("CUDA failure 2: out of memory")
        sizes = bound.inputs["image_sizes"].value
        for i in range(len(images)):
            score = np.float32(images[i, 0, 0, 0] / 255)
            height, width = sizes[i]
            real = score > bound.inputs["score_threshold"].value[0]
            rows = {
                "num_detections": int(real),
                "boxes": [[0, 0, width, height]] + [[0, 0, 0, 0]] * (CAP - 1),
                "scores": [score] + [0] * (CAP - 1),
                "classes": [1] + [-1] * (CAP - 1),
                "converged": self.machine.converged,
                "candidate_boxes": [[0, 0, 7, 7]] * 10,
                "candidate_scores": [0.5] + [0.0] * 9,
                "candidate_classes": [2] * 10,
            }
            for name, value in rows.items():
                bound.outputs[name].value[i] = value


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle of both flavours, whose graph files only the stand-in can read."""
    (tmp_path / "m.onnx").write_bytes(b"cpu")
    (tmp_path / "m-tensor.onnx").write_bytes(b"tensor")
    graphs = [
        Graph(
            file=file, precision=precision, flavour=flavour, sha256=sha256_of(tmp_path / file),
            opset=18, parity={"worst_box_px": 0.5},
        )
        for file, precision, flavour in (
            ("m.onnx", "fp32", "cpu"), ("m-tensor.onnx", "fp16", "tensor"),
        )
    ]  # fmt: skip
    thresholds = Thresholds(max_detections=CAP, pre_nms_top_k=2)
    return Bundle(tmp_path, make_manifest(graphs=graphs, thresholds=thresholds))


@pytest.fixture
def machine(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(bundle.manifest.facts("fp16", "tensor"))
    ort = SimpleNamespace(
        __version__="9.9",
        SessionOptions=onnxruntime.SessionOptions,
        RunOptions=onnxruntime.RunOptions,
        OrtValue=OrtValue,
        InferenceSession=lambda *args, **options: InferenceSession(machine, *args, **options),
        get_available_providers=lambda: machine.available,
        preload_dlls=lambda: None,
    )
    monkeypatch.setattr(onnxruntime_cuda, "ort", ort)
    monkeypatch.setattr(onnxruntime_session, "ort", ort)
    return machine


def opened(bundle: Bundle) -> OnnxRuntimeCudaSession:
    return OnnxRuntimeCudaSession(bundle, None, Device("cuda", 1))


def picture(value: int, batch: int = 1, side: int = 64) -> np.ndarray:
    return np.full((batch, side, side, 3), value, np.uint8)


def test_stand_in_has_no_name_that_onnxruntime_lacks() -> None:
    for fake in (OrtValue, IOBinding, InferenceSession):
        real = getattr(onnxruntime, fake.__name__)
        names = {name for name in vars(fake) if not name.startswith("_")} - {"fetched"}
        assert names <= set(dir(real)), fake
    assert callable(onnxruntime.preload_dlls)


def test_session_is_of_the_tensor_graph(bundle: Bundle, machine: Machine) -> None:
    session = opened(bundle)
    assert (session.precision, session.parity) == ("fp16", {"worst_box_px": 0.5})
    assert session.engine == "onnxruntime-9.9-cuda"
    (options,) = machine.options
    assert options["device_id"] == "1"
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["enable_cuda_graph"] == "1"
    assert options["use_tf32"] == "0"


def test_fp8_is_refused(bundle: Bundle, machine: Machine) -> None:
    (tensor,) = (g for g in bundle.manifest.graphs if g.flavour == "tensor")
    graphs = [tensor.model_copy(update={"precision": "fp8"})]
    eight = Bundle(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}))
    with pytest.raises(BundleError, match="ONNX Runtime computes fp8 graphs wrongly"):
        opened(eight)
    assert not machine.sessions


def test_run_follows_pictures_sizes_and_thresholds(bundle: Bundle, machine: Machine) -> None:
    session = opened(bundle)
    (found,) = session.run(picture(204), np.array([[60, 50]]), 0.05, 0.5)
    assert found.boxes.tolist() == [[0, 0, 50, 60]]
    assert found.scores.tolist() == [np.float32(0.8)]
    assert found.classes.tolist() == [1]
    (found,) = session.run(picture(102), np.array([[64, 64]]), 0.05, 0.5)
    assert (found.boxes.tolist(), found.scores.tolist()) == ([[0, 0, 64, 64]], [np.float32(0.4)])
    (found,) = session.run(picture(102), np.array([[64, 64]]), 0.5, 0.5)
    assert len(found) == 0
    (found,) = session.run(picture(102), np.array([[64, 64]]), 0.05, 0.5)
    assert len(found) == 1


def test_each_shape_has_a_cuda_graph_and_buffers_of_its_own(
    bundle: Bundle, machine: Machine
) -> None:
    session = opened(bundle)
    for batch, side in ((1, 64), (2, 64), (1, 96), (1, 64), (2, 64)):
        sizes = np.array([[side, side]] * batch)
        found = session.run(picture(204, batch, side), sizes, 0.05, 0.5)
        assert [one.boxes.tolist() for one in found] == [[[0, 0, side, side]]] * batch
    assert sorted(machine.sessions[0].captured) == ["1", "2", "3"]


def test_candidates_are_fetched_only_where_the_graph_did_not_converge(
    bundle: Bundle, machine: Machine
) -> None:
    session = opened(bundle)
    OrtValue.fetched = 0
    session.run(picture(204), np.array([[64, 64]]), 0.05, 0.5)
    assert OrtValue.fetched == 5
    machine.converged = False
    (found,) = session.run(picture(204), np.array([[64, 64]]), 0.05, 0.5)
    assert OrtValue.fetched == 5 + 8
    assert (found.boxes.tolist(), found.classes.tolist()) == ([[0, 0, 7, 7]], [2])


def test_graph_that_cannot_be_captured_runs_without_and_its_host_nodes_are_named(
    bundle: Bundle, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.capturable = False
    with caplog.at_level(logging.WARNING):
        session = opened(bundle)
    assert caplog.messages == [
        "m-tensor.onnx runs without CUDA graphs, node by node: on the CPU run "
        "node_nms (NonMaxSuppression)"
    ]
    assert [options["enable_cuda_graph"] for options in machine.options] == ["1", "0"]
    (found,) = session.run(picture(204), np.array([[60, 50]]), 0.05, 0.5)
    assert found.boxes.tolist() == [[0, 0, 50, 60]]


def test_package_without_cuda_is_refused(bundle: Bundle, machine: Machine) -> None:
    machine.available = ["CPUExecutionProvider"]
    with pytest.raises(
        InputError,
        match=r"installed without CUDA \(it has CPUExecutionProvider\).*retinaserve\[gpu\]",
    ):
        opened(bundle)


def test_provider_that_does_not_start_is_refused_and_nothing_falls_back(
    bundle: Bundle, machine: Machine
) -> None:
    machine.starts = False
    with pytest.raises(InputError, match="could not start CUDA on cuda:1"):
        opened(bundle)


def test_bundle_without_a_tensor_graph_is_refused(bundle: Bundle, machine: Machine) -> None:
    manifest = bundle.manifest.model_copy(update={"graphs": bundle.manifest.graphs[:1]})
    with pytest.raises(BundleError, match="no tensor graph; it holds fp32 cpu"):
        opened(Bundle(bundle.folder, manifest))


def test_a_run_without_memory_left_says_so(bundle: Bundle, machine: Machine) -> None:
    with pytest.raises(OutOfMemory, match="ONNX Runtime has no memory left"):
        opened(bundle).run(picture(204, side=32), np.array([[32, 32]]), 0.05, 0.5)
