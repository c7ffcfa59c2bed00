"""Intersection over union in numpy: engines and their comparison run without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def iou_of(box: NDArray[Any], boxes: NDArray[Any], dtype: type = np.float64) -> NDArray[Any]:
    """IoU of xyxy boxes, computed in `dtype`: [4] and [N, 4] -> [N]; 0 where both areas are 0."""
    a: NDArray[Any] = box.astype(dtype)
    b: NDArray[Any] = boxes.astype(dtype)
    sides = np.clip(np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2]), 0, None)
    intersection = sides.prod(axis=1)
    union = (a[2:] - a[:2]).prod() + (b[:, 2:] - b[:, :2]).prod(axis=1) - intersection
    iou: NDArray[Any] = np.zeros_like(union)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou
