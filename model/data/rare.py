"""Repeat-factor sampling: pictures of rare classes appear more often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def repeat_factors(
    shown: Sequence[NDArray[np.int64]], class_count: int, threshold: float
) -> NDArray[np.float64]:
    """How often an epoch shows each picture, at least 1, given the class indices of its boxes.

    With f(c) the share of the pictures that show class c: r(c) = max(1, sqrt(threshold / f(c))),
    and a picture has the largest r of its classes, 1 without boxes.
    Source: Gupta et al., LVIS, 2019, sec. 5, 'Repeat factor sampling'; threshold .001 there.
    """
    pictures_with = np.zeros(class_count, np.int64)
    for classes in shown:
        pictures_with[np.unique(classes)] += 1
    share = np.maximum(pictures_with, 1) / len(shown)
    factors = np.maximum(1.0, np.sqrt(threshold / share))
    return np.array([factors[classes].max(initial=1.0) for classes in shown])
