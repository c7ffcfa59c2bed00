"""A session of ONNX Runtime on the CPU, and what it has in common with one on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.contract import DETECTIONS, FED
from export.engines.faults import session_error
from export.engines.graph_values import detections_in, feed_for
from export.engines.session import Detections, Session, SessionRule
from export.manifest import Bundle, BundleError, Graph, Precision, read_bundle

logger = logging.getLogger(__name__)

ERRORS_ONLY = 3
"""ONNX Runtime's log severity: its warnings are about its own graph rewriting."""


def open_session(rule: SessionRule) -> Session:
    """A bundle's session on the device of the rule."""
    bundle = read_bundle(rule.path)
    if rule.device.kind == "cpu":
        return OnnxRuntimeSession(bundle, rule.precision, rule.threads)
    # Imported late: a CPU has no use for it.
    from export.engines.onnxruntime_cuda import OnnxRuntimeCudaSession

    return OnnxRuntimeCudaSession(bundle, rule.precision, rule.device)


def session_options(threads: int) -> ort.SessionOptions:
    """How graphs run on the CPU, on `threads` cores; the reasons are in `docs/engines.md`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    # Threads that spin between two batches take the cores that decode the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A block for each shape that has run: memory that no other shape can use, and no faster here.
    options.enable_mem_pattern = False
    return options


def shrinking() -> ort.RunOptions:
    """Has a run give back, once it is over, what the arena does not hold weights in.

    For the first run of each shape: a warm-up would leave the memory of the largest behind.
    """
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def load_graph(
    bundle: Bundle, graph: Graph, options: ort.SessionOptions, providers: Sequence[Any]
) -> Any:
    """The `onnxruntime.InferenceSession` of a graph.

    Raises BundleError unless hash, metadata, inputs and outputs are what the manifest says.
    """
    path = bundle.graph_path(graph)
    try:
        session = ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        logger.debug("ONNX Runtime refused %s", path, exc_info=error)
        raise BundleError(
            f"{path}: ONNX Runtime {ort.__version__} cannot load this graph; "
            "export the bundle again with this version"
        ) from None
    bundle.manifest.check_facts(session.get_modelmeta().custom_metadata_map, graph)
    given = [*session.get_inputs(), *session.get_overridable_initializers()]
    for role, wanted, found in (
        ("inputs", FED, {tensor.name for tensor in given}),
        ("outputs", DETECTIONS, {tensor.name for tensor in session.get_outputs()}),
    ):
        missing = [name for name in wanted if name not in found]
        if missing:
            raise BundleError(
                f"{graph.file} lacks the {role} {', '.join(missing)}: not a graph of `retinaserve "
                "export`; export the bundle again"
            )
    return session


class OnnxRuntimeSession:
    """A bundle's graph of the CPU flavour in ONNX Runtime, on `threads` cores.

    Raises BundleError unless the graph is there and what the manifest says.
    """

    def __init__(self, bundle: Bundle, precision: Precision | None, threads: int) -> None:
        graph = bundle.manifest.graph_of(precision, "cpu")
        self._session = load_graph(
            bundle, graph, session_options(threads), ["CPUExecutionProvider"]
        )
        self.manifest = bundle.manifest
        self.engine = f"onnxruntime-{ort.__version__}"
        self.precision: Precision = graph.precision
        self.parity = graph.parity
        self.max_batch: int | None = None
        self._seen: set[tuple[int, ...]] = set()

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `Session.run`."""
        feed = feed_for(images, image_sizes, score_threshold, iou_threshold)
        first = images.shape not in self._seen
        self._seen.add(images.shape)
        try:
            return detections_in(
                self._session.run(DETECTIONS, feed, shrinking() if first else None)
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise session_error("ONNX Runtime", error) from error
