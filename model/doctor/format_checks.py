"""Whole data sets of boxes written in another format than their file's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.doctor.box_checks import ROUNDING_PX
from model.doctor.findings import EXAMPLES, Findings
from model.doctor.labels import Labels

NEARLY_ALL = 0.98
"""A format explains a data set if it fits this share of the boxes; the rest may be faults."""

TELLING = 0.1
"""Least share of boxes that the file's own format does not fit."""

EXTENT = 0.75
"""If no box of many reaches past this share of its picture, they may be for a smaller copy."""

MANY = 100
"""Boxes from which their extent says something."""


def check_format(labels: Labels, sizes: NDArray[np.float64], findings: Findings) -> None:
    """Adds the box format that the file seems to have, if it is not the one that it should have.

    `sizes`: (height, width) of each picture, float64 [P, 2], NaN where nobody knows.
    """
    bound = sizes[labels.picture_of][:, ::-1]
    known = np.isfinite(labels.boxes).all(axis=1) & np.isfinite(bound).all(axis=1)
    if not known.any():
        return
    places, bound = np.flatnonzero(known), bound[known]
    low, high = labels.boxes[known, :2], labels.boxes[known, 2:]
    texts = [labels.box_text(place) for place in places[:EXAMPLES].tolist()]
    extent = (np.maximum(high, 0) / bound).max()
    if code := _other_format(labels, low, high, bound):
        findings.add(code, texts, len(places))
    elif len(places) >= MANY and extent < EXTENT:
        findings.add("boxes-look-rescaled", texts, len(places), extent=f"{extent:.0%}")


def _other_format(
    labels: Labels,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    bound: NDArray[np.float64],
) -> str | None:
    """The finding for boxes with these corners (x, y) [N, 2], if they are not what they should be.

    `bound`: (width, height) of each box's picture.
    """
    if (np.abs(np.hstack([low, high])) <= 1.0).all(axis=1).mean() >= NEARLY_ALL:
        return "boxes-look-normalised"
    if labels.source.format == "coco":
        # As the file has them, places 3 and 4 are `high - low`.
        telling = (high > bound + ROUNDING_PX).any(axis=1).mean() >= TELLING
        return "boxes-look-xyxy" if telling and _fits(low, high - low, bound) else None
    telling = (high <= low).any(axis=1).mean() >= TELLING
    return "boxes-look-xywh" if telling and _fits(low, low + high, bound) else None


def _fits(low: NDArray[np.float64], high: NDArray[np.float64], bound: NDArray[np.float64]) -> bool:
    """Whether corners (x, y) [N, 2] make boxes with area inside pictures of (width, height)."""
    fits = (high > low).all(axis=1) & (high <= bound + ROUNDING_PX).all(axis=1)
    return bool(fits.mean() >= NEARLY_ALL)
