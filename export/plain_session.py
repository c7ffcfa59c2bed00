"""A graph in plain ONNX Runtime on the CPU: the engine that every other one is measured by."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from export.contract import OUTPUTS
from export.engines.graph_values import detections_in, feed_for, settled_detections
from export.engines.session import Detections
from export.manifest import BundleError, Flavour


class PlainSession:
    """A graph file's content, of either flavour, of a bundle or not yet."""

    engine = f"onnxruntime-{onnxruntime.__version__}"

    def __init__(self, graph: bytes) -> None:
        self._session = session_of(graph)
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        outputs = {part.name for part in self._session.get_outputs()}
        self.flavour: Flavour = "tensor" if "converged" in outputs else "cpu"

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `export.engines.session.Session.run`."""
        feed = feed_for(images, image_sizes, score_threshold, iou_threshold)
        found = self._session.run(list(OUTPUTS[self.flavour]), feed)
        if self.flavour == "tensor":
            most = found[1].shape[1]
            return settled_detections(found[:5], lambda: found[5:], iou_threshold, most)
        return detections_in(found)


def session_of(graph: bytes) -> Any:
    """ONNX Runtime's own session, on the CPU, with its usual settings.

    Raises BundleError for what is no graph.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        if _holds_fp8(graph):
            # Beyond it ONNX Runtime 1.32 drops the Relu before an 8-bit float, and refuses a Clip.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        said = str(error).splitlines()[0]
        raise BundleError(f"no graph that ONNX Runtime can load ({said})") from None


def _holds_fp8(graph: bytes) -> bool:
    weights = onnx.load_model_from_string(graph).graph.initializer
    return any(entry.data_type == onnx.TensorProto.FLOAT8E4M3FN for entry in weights)
