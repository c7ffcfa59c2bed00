"""The best anchor of every box, found without making any anchor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.geometry import STRIDES, AnchorSpec


def best_ious(
    boxes: NDArray[np.float32], canvases: NDArray[np.int64], spec: AnchorSpec
) -> NDArray[np.float64]:
    """The IoU of each box with its best anchor of each level and shape.

    Shapes: boxes [N, 4] xyxy canvas pixels, canvases [N, 2] (height, width) -> [levels, N, A].
    For an anchor of a given shape the overlap only falls with the distance of the centres along x
    and along y, so the best one of a level stands at the location nearest to the box's centre.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2
    levels = []
    for index, stride in enumerate(STRIDES):
        columns_rows = -(-canvases[:, ::-1] // stride)
        nearest = np.clip(np.rint(centres / stride - spec.offset), 0, columns_rows - 1)
        away = np.abs(centres - (nearest + spec.offset) * stride)
        shapes = np.array(spec.shapes(index))
        # [N, A, 2]: along x and y
        reach = (sizes[:, None] + shapes) / 2 - away[:, None]
        overlap = np.minimum(np.minimum(sizes[:, None], shapes), reach).clip(min=0)
        common = overlap.prod(axis=2)
        levels.append(common / (sizes.prod(axis=1)[:, None] + shapes.prod(axis=1) - common))
    return np.stack(levels)
