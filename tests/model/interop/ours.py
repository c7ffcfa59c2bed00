"""What a detector finds once it is imported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from model.anchors import anchors_of_canvas
from model.interop.parameters import Imported
from model.normalise import normalise
from model.postprocess import detections_of
from model.retinanet import RetinaNet
from tests.model.interop.plain import CANVAS, Found


def found_by(
    imported: Imported,
    image: np.ndarray,
    changes: dict[str, Any] | None = None,
    **rule: Any,
) -> Found:
    """Detections in an RGB image at the top left of the canvas.

    `changes`: to the architecture. `rule`: of post-processing.
    """
    architecture = replace(imported.architecture, **changes or {})
    model = RetinaNet(architecture).eval()
    model.load_state_dict(imported.state)
    canvas = torch.zeros(1, *CANVAS, 3, dtype=torch.uint8)
    canvas[0, : image.shape[0], : image.shape[1]] = torch.from_numpy(image)
    sizes = torch.tensor([image.shape[:2]])
    with torch.no_grad():
        predictions = model(normalise(canvas, sizes, imported.mean, imported.std))
    anchors = anchors_of_canvas(CANVAS, architecture.anchors)
    (found,) = detections_of(predictions, anchors, sizes, **rule)
    return Found(*(part.numpy() for part in found))
