"""Anchors that fit the data: a search over size, number of scales, and ratios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from model.doctor.best_anchors import best_ious
from model.doctor.coverage import CanvasBoxes, together
from model.geometry import STRIDES, AnchorSpec

SIZES = tuple(float(round(size)) for size in 4 * 2.0 ** np.arange(0, 4.25, 0.25))
"""Anchor sizes of P3 that are tried, 4 to 64 canvas pixels; each level doubles the one before."""

RATIOS = (1 / 6, 1 / 4, 1 / 3, 1 / 2, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0, 6.0)
"""Height / width that are tried, up to three at a time."""

MOST_RATIOS = 3
MOST_SCALES = 3

BOXES = 4_000
"""Boxes that the search looks at, drawn with a fixed seed; more change nothing that matters."""

AS_GOOD = 0.005
"""Mean IoU that a spec with fewer anchors may lose."""


class Fit(NamedTuple):
    """Anchors of P3's size, a number of scales and some ratios, and how well they fit.

    `mean_iou`: the weighted mean of the best IoU that the boxes find among them.
    """

    size: float
    scales: int
    ratios: tuple[float, ...]
    mean_iou: float

    @property
    def per_location(self) -> int:
        """Anchors of a location."""
        return self.scales * len(self.ratios)

    def spec(self, offset: float) -> AnchorSpec:
        """These anchors, each level's twice the size of the one before."""
        sizes = tuple(self.size * 2**level for level in range(len(STRIDES)))
        scales = tuple(2.0 ** (i / self.scales) for i in range(self.scales))
        return AnchorSpec(sizes, scales, self.ratios, offset)


def propose_anchors(
    pictures: Sequence[CanvasBoxes], classes: NDArray[np.int64], current: AnchorSpec
) -> AnchorSpec:
    """The anchor spec with the highest mean best IoU, at most as many anchors as the paper has.

    `classes` [N]: the class of each box, in the pictures' order. A box counts by the inverse square
    root of its class's number of boxes: AP is the mean over classes, and one box proves little.
    Of specs that are about as good (`AS_GOOD`), the one with the fewest anchors is taken.
    """
    boxes, canvases = together(pictures)
    chosen = default_rng(0).permutation(len(boxes))[:BOXES]
    weights = 1 / np.sqrt(np.bincount(classes + 1)[classes + 1])
    fits = list(_fits(boxes[chosen], canvases[chosen], weights[chosen], current.offset))
    best = max(fit.mean_iou for fit in fits)
    good = [fit for fit in fits if fit.mean_iou >= best - AS_GOOD]
    return min(good, key=lambda fit: (fit.per_location, -fit.mean_iou)).spec(current.offset)


def anchors_toml(spec: AnchorSpec) -> str:
    """The recipe's section for an anchor spec."""
    lines = ["[model.anchors]"]
    for name in ("sizes", "scales", "ratios"):
        values = ", ".join(f"{value:.6g}" for value in getattr(spec, name))
        lines.append(f"{name} = [{values}]")
    if spec.offset != AnchorSpec().offset:
        lines.append(f"offset = {spec.offset:g}")
    return "\n".join(lines)


def _fits(
    boxes: NDArray[np.float32],
    canvases: NDArray[np.int64],
    weights: NDArray[np.float64],
    offset: float,
) -> Iterator[Fit]:
    weights = weights / weights.sum()
    for size in SIZES:
        for count in range(1, MOST_SCALES + 1):
            spec = Fit(size, count, RATIOS, 0.0).spec(offset)
            # The shapes of a level are ratio-major: [levels, N, ratios, scales] -> [ratios, N].
            iou = best_ious(boxes, canvases, spec).reshape(len(STRIDES), len(boxes), -1, count)
            of_ratio = iou.max(axis=(0, 3)).T
            for several in range(1, MOST_RATIOS + 1):
                for members in combinations(range(len(RATIOS)), several):
                    mean = weights @ of_ratio[list(members)].max(axis=0)
                    yield Fit(size, count, tuple(RATIOS[m] for m in members), float(mean))
