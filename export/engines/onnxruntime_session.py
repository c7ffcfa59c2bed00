"""A session of ONNX Runtime."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.engines.session import INPUTS, OUTPUTS, Detections, SessionError
from export.manifest import Bundle, BundleError, Precision

logger = logging.getLogger(__name__)

ERRORS_ONLY = 3
"""ONNX Runtime's log severity: its warnings are about its own graph rewriting."""


class OnnxRuntimeSession:
    """A bundle's graph in ONNX Runtime on the CPU, on `threads` cores.

    Raises BundleError unless hash, metadata, inputs and outputs are what the manifest says.
    """

    def __init__(self, bundle: Bundle, precision: Precision | None, threads: int) -> None:
        graph = bundle.manifest.graph_of(precision)
        path = bundle.graph_path(graph)
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = ERRORS_ONLY
        # Threads that spin between two batches take the cores that decode the next images.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            logger.debug("ONNX Runtime refused %s", path, exc_info=error)
            raise BundleError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load this graph; "
                "export the bundle again with this version"
            ) from None
        bundle.manifest.check_facts(self._session.get_modelmeta().custom_metadata_map, graph)
        self._check_names(graph.file)
        self.manifest = bundle.manifest
        self.engine = f"onnxruntime-{ort.__version__}"
        self.precision: Precision = graph.precision

    def _check_names(self, file: str) -> None:
        given = [*self._session.get_inputs(), *self._session.get_overridable_initializers()]
        for role, wanted, found in (
            ("inputs", INPUTS, {tensor.name for tensor in given}),
            ("outputs", OUTPUTS, {tensor.name for tensor in self._session.get_outputs()}),
        ):
            missing = [name for name in wanted if name not in found]
            if missing:
                raise BundleError(
                    f"{file} lacks the {role} {', '.join(missing)}: not a graph of `retinaserve "
                    "export`; export the bundle again"
                )

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `Session.run`."""
        feed = {
            "images": images,
            "image_sizes": image_sizes,
            "score_threshold": np.array([score_threshold], np.float32),
            "iou_threshold": np.array([iou_threshold], np.float32),
        }
        try:
            counts, boxes, scores, classes = self._session.run(OUTPUTS, feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise SessionError("ONNX Runtime failed on a batch") from error
        return [
            Detections(boxes[i, :n], scores[i, :n], classes[i, :n].astype(np.int64))
            for i, n in enumerate(counts.tolist())
        ]
