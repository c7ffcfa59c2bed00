"""A bundle's most precise graph, where the checkpoint it was exported from is not at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.contract import CANDIDATES, DELTAS, LOGITS
from export.engines.parity import Detector
from export.engines.session import Detections
from export.inputs import Placed, run
from export.manifest import Thresholds
from export.reference import Seen
from export.stages import Stages


class GraphReference:
    """What a graph computes in plain ONNX Runtime; see `export.reference.Reference`."""

    def __init__(self, content: bytes, detector: Detector, name: str) -> None:
        self.name = name
        self._detector = detector
        self._stages = Stages(content)

    def look(self, entry: Placed, thresholds: Thresholds) -> Seen:
        """See `export.reference.Reference.look`."""
        values = self._stages.look(entry, thresholds)
        (found,) = run(self._detector, [entry], thresholds)
        return Seen(
            {name: values[name] for name in (*LOGITS, *DELTAS) if name in values},
            _by_level(values, thresholds.pre_nms_top_k) if CANDIDATES[0] in values else [],
            found,
        )


def _by_level(values: dict[str, NDArray[Any]], top_k: int) -> list[Detections]:
    """A graph holds `top_k` rows for each level, in order; score 0: none."""
    boxes, scores, classes = (values[name] for name in CANDIDATES)
    every = Detections(boxes, scores, classes)
    levels = (every.where(slice(at, at + top_k)) for at in range(0, len(every), top_k))
    return [level.where(level.scores > np.float32(0)) for level in levels]
