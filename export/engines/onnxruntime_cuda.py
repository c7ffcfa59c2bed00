"""A session of ONNX Runtime on a GPU: the tensor flavour, on buffers that stay on the device."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.contract import CANDIDATES, DETECTIONS
from export.engines.device import Device
from export.engines.faults import session_error
from export.engines.graph_values import feed_for, settled_detections
from export.engines.onnxruntime_session import ERRORS_ONLY, load_graph
from export.engines.session import Detections
from export.manifest import Bundle, BundleError, Graph, Precision
from model.errors import InputError

logger = logging.getLogger(__name__)

PROVIDER = "CUDAExecutionProvider"
HOST = "CPUExecutionProvider"

SHAPE_ARITHMETIC = (
    "Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Gather",
    "Identity", "Max", "Min", "Mod", "Mul", "Range", "Reshape", "Shape", "Size", "Slice",
    "Squeeze", "Sub", "Unsqueeze", "Where",
)  # fmt: skip
"""Operators on a handful of whole numbers, which ONNX Runtime keeps on the CPU on purpose."""

NAMED = 5
"""Nodes that a warning lists."""

Shape = tuple[int, ...]


def provider_options(device: Device, capture: bool) -> dict[str, str]:
    """The CUDA provider's settings; `capture`: replay CUDA graphs. Reasons: `docs/engines.md`."""
    return {
        "device_id": str(device.index),
        # The search that tries all algorithms takes .6 s for every shape not seen before.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Each canvas and batch size asks once: doubling what is held would waste up to half.
        "arena_extend_strategy": "kSameAsRequested",
        # fp32 graphs promise fp32: TF32 keeps 10 of 23 bits.
        "use_tf32": "0",
        "enable_cuda_graph": "1" if capture else "0",
    }


class OnnxRuntimeCudaSession:
    """A bundle's graph of the tensor flavour in ONNX Runtime on a GPU.

    A shape (canvas and batch size) is captured as a CUDA graph by its first run and replayed by all
    others. Where ONNX Runtime can't capture, because some node has no CUDA kernel, it runs node by
    node, and the log names the nodes that run on the CPU.
    Raises InputError if the provider does not start, BundleError as `OnnxRuntimeSession`.
    """

    def __init__(self, bundle: Bundle, precision: Precision | None, device: Device) -> None:
        graph = bundle.manifest.graph_of(precision, "tensor")
        if graph.precision == "fp8":
            # Its optimizer (1.32) drops the Relu in front of an 8-bit float, without a word.
            raise BundleError(
                f"{graph.file}: ONNX Runtime computes fp8 graphs wrongly; serve it by engine "
                "tensorrt, or another precision"
            )
        _check_provider()
        try:
            self._session = _load(bundle, graph, device, capture=True)
            self._captures = True
        except BundleError as error:
            logger.debug("no CUDA graphs for %s", graph.file, exc_info=error)
            self._session = _load(bundle, graph, device, capture=False)
            self._captures = False
            _warn_of_host_nodes(self._session, graph.file)
        self._device = device
        self._bindings: dict[Shape, _Binding] = {}
        self.manifest = bundle.manifest
        self.engine = f"onnxruntime-{ort.__version__}-cuda"
        self.precision: Precision = graph.precision
        self.parity = graph.parity
        self.max_batch: int | None = None

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `Session.run`."""
        feed = feed_for(images, image_sizes, score_threshold, iou_threshold)
        try:
            binding = self._bindings.get(images.shape)
            if binding is None:
                binding = self._bind(feed)
                self._bindings[images.shape] = binding
            binding.run(feed)
            found = [binding.output(name) for name in (*DETECTIONS, "converged")]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise session_error("ONNX Runtime", error) from error
        return settled_detections(
            found,
            lambda: [binding.output(name) for name in CANDIDATES],
            iou_threshold,
            self.manifest.thresholds.max_detections,
        )

    def _bind(self, feed: dict[str, NDArray[Any]]) -> _Binding:
        options = ort.RunOptions()
        if self._captures:
            # Each shape is a CUDA graph of its own; -1 would mean none.
            options.add_run_config_entry("gpu_graph_id", str(len(self._bindings) + 1))
        return _Binding(
            self._session, feed, self._outputs(len(feed["images"])), self._device, options
        )

    def _outputs(self, batch: int) -> dict[str, tuple[Shape, type]]:
        """Shape and type of the outputs of a batch."""
        thresholds = self.manifest.thresholds
        rows = thresholds.max_detections
        candidates = thresholds.pre_nms_top_k * len(self.manifest.strides)
        return {
            "num_detections": ((batch,), np.int64),
            "boxes": ((batch, rows, 4), np.float32),
            "scores": ((batch, rows), np.float32),
            "classes": ((batch, rows), np.int64),
            "converged": ((batch,), np.bool_),
            "candidate_boxes": ((batch, candidates, 4), np.float32),
            "candidate_scores": ((batch, candidates), np.float32),
            "candidate_classes": ((batch, candidates), np.int64),
        }


class _Binding:
    """Inputs and outputs of one shape in the device's memory, always the same: a CUDA graph reads
    and writes where it did when it was captured.
    """

    def __init__(
        self,
        session: Any,
        feed: dict[str, NDArray[Any]],
        outputs: dict[str, tuple[Shape, type]],
        device: Device,
        options: Any,
    ) -> None:
        self._session, self._options = session, options
        self._bound = session.io_binding()
        self._given: dict[str, NDArray[Any]] = {}
        self._inputs = {
            name: ort.OrtValue.ortvalue_from_numpy(value, "cuda", device.index)
            for name, value in feed.items()
        }
        self._outputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cuda", device.index)
            for name, (shape, kind) in outputs.items()
        }
        for name, value in self._inputs.items():
            self._bound.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._bound.bind_ortvalue_output(name, value)

    def run(self, feed: dict[str, NDArray[Any]]) -> None:
        """Runs the graph on a batch; the outputs stay on the device."""
        for name, value in feed.items():
            # Sizes and thresholds are mostly those of the last batch: each copy is a round trip.
            if not np.array_equal(self._given.get(name, ()), value) or name == "images":
                self._inputs[name].update_inplace(np.ascontiguousarray(value))
                self._given[name] = value.copy()
        self._session.run_with_iobinding(self._bound, self._options)

    def output(self, name: str) -> NDArray[Any]:
        """One output of the last run."""
        value: NDArray[Any] = self._outputs[name].numpy()
        return value


def _check_provider() -> None:
    held = ort.get_available_providers()
    if PROVIDER not in held:
        raise InputError(
            f"ONNX Runtime {ort.__version__} is installed without CUDA (it has {', '.join(held)}): "
            "pip uninstall onnxruntime, then pip install 'retinaserve[gpu]'"
        )


def _load(bundle: Bundle, graph: Graph, device: Device, capture: bool) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # The libraries of CUDA and cuDNN that pip installed lie where the loader does not look.
    ort.preload_dlls()
    session = load_graph(
        bundle, graph, options, [(PROVIDER, provider_options(device, capture)), HOST]
    )
    if session.get_providers()[0] != PROVIDER:
        raise InputError(
            f"ONNX Runtime {ort.__version__} could not start CUDA on {device}, and nothing falls "
            "back to the CPU here: its CUDA and cuDNN libraries are missing or of other versions; "
            "pip install 'onnxruntime-gpu[cuda,cudnn]' brings them"
        )
    return session


def _warn_of_host_nodes(session: Any, file: str) -> None:
    """Names the nodes that compute on the CPU, each with a copy there and back."""
    nodes = [
        f"{node.name} ({node.op_type})"
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == HOST
        for node in part.get_nodes()
        if node.op_type not in SHAPE_ARITHMETIC
    ]
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    where = f": on the CPU run {', '.join(nodes[:NAMED])}{more}" if nodes else ""
    logger.warning("%s runs without CUDA graphs, node by node%s", file, where)
