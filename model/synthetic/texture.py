"""Smooth random texture, the grain of cytoplasm, chromatin and glass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], grain_px: float
) -> NDArray[np.float32]:
    """Random [height, width] map of zero mean whose bumps are about `grain_px` pixels apart.

    The deviation is about 0.7: white noise of deviation 1 on a coarse grid, enlarged.
    """
    height, width = shape
    rows = max(2, round(height / grain_px) + 1)
    columns = max(2, round(width / grain_px) + 1)
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    enlarged = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(enlarged, dtype=np.float32)
