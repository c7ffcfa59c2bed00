"""The middle of many measurements, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Median and the middle 80 % of some values."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one or more values."""
        p10, median, p90 = np.percentile(values, (10, 50, 90)).tolist()
        return cls(round(median, 3), round(p10, 3), round(p90, 3))

    def text(self, digits: int = 2) -> str:
        """For people: 55.50 (54.10-57.02)."""
        return f"{self.median:.{digits}f} ({self.p10:.{digits}f}-{self.p90:.{digits}f})"
