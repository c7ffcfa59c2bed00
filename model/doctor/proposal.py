"""Anchors that reach the data's boxes: a search over sizes, number of scales, and ratios."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from tqdm import tqdm

from model.doctor.best_anchors import best_ious
from model.doctor.conditions import Conditions
from model.doctor.coverage import CanvasBoxes, together
from model.geometry import STRIDES, AnchorSpec

FACTORS = tuple(2.0 ** np.arange(-3, 1.25, 0.25))
"""What all sizes of now are multiplied with: the smallest change, tried first."""

SIZES = tuple(float(round(size)) for size in 4 * 2.0 ** np.arange(0, 4.25, 0.25))
"""Anchor sizes of P3 that are tried, 4 to 64 canvas pixels; each level doubles the one before."""

RATIOS = (1 / 6, 1 / 4, 1 / 3, 1 / 2, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0, 6.0)
"""Height / width that are tried, up to three at a time."""

MOST_RATIOS = 3
MOST_SCALES = 3

BOXES = 4_000
"""Boxes that the search looks at, drawn with a fixed seed; more change nothing that matters."""

POOR = 0.05
"""Anchors are poor if more than this share of the boxes has none that overlaps enough."""

GAIN = 0.01
"""Least share of the boxes that other anchors must win."""

LOSS = 0.02
"""Most of a class's boxes that other anchors may lose on balance."""

AS_GOOD = 0.005
"""Share of the boxes, and mean IoU, whose difference is too small to choose by."""


class Fit(NamedTuple):
    """How well some anchors fit.

    `reached` [K] boxes of each class that find an anchor with the foreground IoU. `share`,
    `mean_iou`: of all boxes, weighted, the share that is reached and the mean best IoU.
    """

    spec: AnchorSpec
    reached: NDArray[np.int64]
    share: float
    mean_iou: float


class Proposal(NamedTuple):
    """What the search found; `spec` is None where nothing wins `GAIN` and spares every class.

    `tried`: how many specs; `most`: the largest share of the boxes that any of them reaches.
    """

    spec: AnchorSpec | None
    tried: int
    most: float


def propose_anchors(
    pictures: Sequence[CanvasBoxes], classes: NDArray[np.int64], conditions: Conditions
) -> Proposal:
    """The anchor spec that reaches most boxes, at most as many anchors as the paper has.

    `classes` [N]: the class of each box, in the pictures' order. A box counts by the inverse square
    root of its class's number of boxes: AP is the mean over classes, and one box proves little.
    Other sizes alone are taken if they reach all but `POOR` of that. Else, of all specs within
    `AS_GOOD` of the largest share and then of the highest mean IoU, that with the fewest anchors.
    """
    sample = _Sample.of(pictures, classes, conditions.matching.foreground)
    now = sample.fit(conditions.anchors, sample.ious(conditions.anchors).max(axis=(0, 2)))
    best: Fit | None = None
    tried, most = 0, 0.0
    for family in (_resized(sample, conditions.anchors), _searched(sample, conditions.anchors)):
        fits = list(family)
        tried += len(fits)
        most = max([most, *(float(fit.reached.sum()) / sample.count for fit in fits)])
        best = _best([*filter(None, [best]), *(fit for fit in fits if _gains(fit, now, sample))])
        if best and best.share >= 1 - POOR:
            break
    return Proposal(best.spec if best else None, tried, most)


def anchors_toml(spec: AnchorSpec) -> str:
    """The recipe's section for an anchor spec."""
    lines = ["[model.anchors]"]
    for name in ("sizes", "scales", "ratios"):
        values = ", ".join(f"{value:.6g}" for value in getattr(spec, name))
        lines.append(f"{name} = [{values}]")
    if spec.offset != AnchorSpec().offset:
        lines.append(f"offset = {spec.offset:g}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Sample:
    """The boxes that the search looks at.

    Shapes: boxes [N, 4], canvases [N, 2], classes [N] from 0, weights [N] of sum 1, of_class [K].
    """

    boxes: NDArray[np.float32]
    canvases: NDArray[np.int64]
    classes: NDArray[np.int64]
    weights: NDArray[np.float64]
    of_class: NDArray[np.int64]
    foreground: float

    @classmethod
    def of(
        cls, pictures: Sequence[CanvasBoxes], classes: NDArray[np.int64], foreground: float
    ) -> _Sample:
        boxes, canvases = together(pictures)
        chosen = default_rng(0).permutation(len(boxes))[:BOXES]
        # Class -1, of what the list lacks, is one like the others here.
        weights = 1 / np.sqrt(np.bincount(classes + 1)[classes + 1][chosen])
        of_box = classes[chosen] + 1
        return cls(
            boxes[chosen],
            canvases[chosen],
            of_box,
            weights / weights.sum(),
            np.bincount(of_box),
            foreground,
        )

    @property
    def count(self) -> int:
        return len(self.boxes)

    def ious(self, spec: AnchorSpec) -> NDArray[np.float64]:
        """The best IoUs with the anchors of each level and shape [levels, N, A]."""
        return best_ious(self.boxes, self.canvases, spec)

    def fit(self, spec: AnchorSpec, best: NDArray[np.float64]) -> Fit:
        """The fit of anchors with which the boxes have these best IoUs [N]."""
        there = best >= self.foreground
        reached = np.bincount(self.classes[there], minlength=len(self.of_class))
        return Fit(spec, reached, float(self.weights @ there), float(self.weights @ best))


def _gains(fit: Fit, now: Fit, sample: _Sample) -> bool:
    """Whether a fit wins enough boxes and takes few from any class."""
    won = fit.reached - now.reached
    return bool(won.sum() >= GAIN * sample.count and (won >= -LOSS * sample.of_class).all())


def _best(fits: Sequence[Fit]) -> Fit | None:
    if not fits:
        return None
    share = max(fit.share for fit in fits)
    fits = [fit for fit in fits if fit.share >= share - AS_GOOD]
    mean_iou = max(fit.mean_iou for fit in fits)
    fits = [fit for fit in fits if fit.mean_iou >= mean_iou - AS_GOOD]
    return min(fits, key=lambda fit: (fit.spec.per_location, -fit.share, -fit.mean_iou))


def _resized(sample: _Sample, now: AnchorSpec) -> Iterator[Fit]:
    """The anchors of now in other sizes."""
    for factor in FACTORS:
        sizes = tuple(max(1.0, float(round(size * factor))) for size in now.sizes)
        spec = AnchorSpec(sizes, now.scales, now.ratios, now.offset)
        yield sample.fit(spec, sample.ious(spec).max(axis=(0, 2)))


def _searched(sample: _Sample, now: AnchorSpec) -> Iterator[Fit]:
    """Every size of P3 with every number of scales and every few ratios."""
    # disable=None: no bar where nobody watches.
    sizes: Iterable[float] = tqdm(SIZES, "other anchors", unit="size", leave=False, disable=None)
    for size in sizes:
        levels = tuple(size * 2**level for level in range(len(STRIDES)))
        for count in range(1, MOST_SCALES + 1):
            scales = tuple(2.0 ** (i / count) for i in range(count))
            every = AnchorSpec(levels, scales, RATIOS, now.offset)
            # The shapes of a level are ratio-major: [levels, N, ratios, scales] -> [ratios, N].
            iou = sample.ious(every).reshape(len(STRIDES), sample.count, -1, count)
            of_ratio = iou.max(axis=(0, 3)).T
            for several in range(1, MOST_RATIOS + 1):
                for members in combinations(range(len(RATIOS)), several):
                    spec = replace(every, ratios=tuple(RATIOS[m] for m in members))
                    yield sample.fit(spec, of_ratio[list(members)].max(axis=0))
