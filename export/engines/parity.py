"""Do two engines tell the same of an image? Detections matched one to one, in numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from export.engines.overlap import iou_of
from export.engines.session import Detections
from export.figures import Figure, first_past
from export.manifest import Precision, Thresholds

TIE_IOU = 1e-4
"""IoUs this near the NMS threshold may fall on either side of it."""

TIE_SCORE = 1e-5
"""Scores this near each other, or a cut, may change places: ten times what two sums of the same
terms in another order were seen to differ by."""


SAME_PX = 0.05
"""Boxes whose sides are all this near are the same. IoU is no judge of slivers: an untrained model
has boxes .003 px wide, which agree to .0008 px with an IoU of .5."""


@dataclass(frozen=True)
class Bounds:
    """What a precision is allowed to change.

    `unmatched`: share of detections without a counterpart of the same class (IoU at least
    `least_iou`, or sides within `SAME_PX`) whose score differs from it by at most `score`.
    `box_px`: worst distance of any box side of a counterpart, canvas pixels. `mean_iou`: what
    counterparts overlap on average.
    Detections within `score` of the score threshold may come or go, and ties may fall either way;
    so that not everything is excused, a share of at least `matched` must have a counterpart, and at
    most `tied` may be ties.
    """

    unmatched: float
    least_iou: float
    score: float
    box_px: float = np.inf
    mean_iou: float = 0.0
    matched: float = 0.0
    tied: float = 0.05


# Judged by intersection over union, a coarse box of any size is judged alike, which pixels can't:
# on blood cells of some 100 px INT8 moves sides by up to 11 px (IoU .75) and by .8 px on average
# (IoU .98), bfloat16 as much. Scores move as well: what counts is the AP, which `--data` measures.
_COARSE = Bounds(unmatched=0.15, least_iou=0.7, score=0.2, mean_iou=0.75, matched=0.25)

BOUNDS: dict[Precision, Bounds] = {
    "fp32": Bounds(unmatched=0.0, least_iou=0.99, score=1e-3, box_px=0.05, matched=0.9),
    "fp16": Bounds(unmatched=0.02, least_iou=0.9, score=0.05, box_px=8.0, matched=0.7),
    "bf16": _COARSE,
    "int8": _COARSE,
    "fp8": _COARSE,
}


class Detector(Protocol):
    """The part of a `Session` that comparing needs."""

    def run(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        score_threshold: float,
        iou_threshold: float,
    ) -> list[Detections]:
        """See `Session.run`."""


class Comparison(NamedTuple):
    """How one image's detections of two sides answer each other.

    `pairs`: rows that are counterparts, int64 [P, 2] (expected, found). `unmatched`: detections of
    either side without counterpart and without excuse. `tied`: those whose absence a tie explains.
    """

    pairs: NDArray[np.int64]
    unmatched: int
    tied: int


def compared(
    expected: Detections,
    found: Detections,
    bounds: Bounds,
    thresholds: Thresholds,
    evidence: Evidence | None = None,
) -> Comparison:
    """Matches the detections of one image, box for box, each at most once.

    A detection without counterpart is excused where the rule of post-processing itself hangs on a
    hair. It is within `bounds.score` of the score threshold; or it lies past the last score of a
    side that is full; or the other side holds a box that suppresses it, by an IoU that ties with
    the NMS threshold, or that is excused itself. With `evidence` it must be among the other side's
    candidates for that; then a box of equal score may suppress it as well, which without evidence
    would excuse any shifted box; and it may be missing there if it ties with a cut.
    """
    pairs = counterparts_of(expected, found, bounds)
    sides = (_Side(expected), _Side(found))
    for number, side in enumerate(sides):
        side.missing[pairs[:, number]] = False
    rows = [
        (number, row) for number in (0, 1) for row in sides[number].missing.nonzero()[0].tolist()
    ]
    rows.sort(key=lambda place: -sides[place[0]].found.scores[place[1]])
    unmatched = tied = 0
    for number, row in rows:
        side, other = sides[number], sides[1 - number]
        score, inside = side.found.scores[row], row < thresholds.max_detections
        if inside and score <= thresholds.score_threshold + bounds.score:
            side.excused[row] = True
            continue
        known = evidence is None or evidence.known(1 - number, side.found, row, bounds)
        side.excused[row] = (inside and evidence is not None and evidence.at_cut(score)) or (
            known
            and (
                (inside and _past_the_cut(score, other.found, thresholds.max_detections))
                or _suppressed(side, row, other, thresholds.iou_threshold, evidence is not None)
            )
        )
        tied += int(side.excused[row])
        unmatched += int(not side.excused[row])
    return Comparison(pairs, unmatched, tied)


class Evidence(NamedTuple):
    """What both sides' NMS had to choose from, and the last scores of levels cut at the top-k."""

    expected: Detections
    found: Detections
    cuts: Sequence[float] = ()

    def known(self, number: int, mine: Detections, row: int, bounds: Bounds) -> bool:
        """Whether a detection of the one side is a candidate of the other, side `number`."""
        theirs = self.found if number else self.expected
        own = mine.where(slice(row, row + 1))
        return len(counterparts_of(own, theirs, bounds)) == 1

    def at_cut(self, score: float) -> bool:
        """Whether a score ties with that of a last candidate."""
        return any(abs(score - cut) <= TIE_SCORE for cut in self.cuts)


class _Side:
    """One side's detections: which have no counterpart, and which of these are excused."""

    def __init__(self, found: Detections) -> None:
        self.found = found
        self.missing = np.ones(len(found), np.bool_)
        self.excused = np.zeros(len(found), np.bool_)


def _past_the_cut(score: float, theirs: Detections, cap: int) -> bool:
    """Whether the other side is full and ends with a score that this one doesn't exceed."""
    return cap <= len(theirs) and bool(score <= theirs.scores[cap - 1] + TIE_SCORE)


def _suppressed(side: _Side, row: int, other: _Side, iou_threshold: float, ranks: bool) -> bool:
    """Whether the other side rightly dropped this box, given what ties; `ranks`: scores too."""
    theirs = other.found
    overlap = iou_of(side.found.boxes[row], theirs.boxes)
    ahead = theirs.scores - side.found.scores[row]
    suppressing = (
        (theirs.classes == side.found.classes[row])
        & (ahead >= -TIE_SCORE)
        & (overlap >= iou_threshold - TIE_IOU)
    )
    # A box that both sides keep suppresses on both, or on neither: only a tie tells them apart.
    hair = overlap <= iou_threshold + TIE_IOU
    equal = other.missing & (ahead <= TIE_SCORE) if ranks else np.zeros_like(hair)
    return bool((suppressing & (hair | equal | other.excused)).any())


def counterparts_of(expected: Detections, found: Detections, bounds: Bounds) -> NDArray[np.int64]:
    """Rows that tell the same object, int64 [P, 2]: the best overlap, first come, first served.

    Each serves once: a detection told twice has one counterpart.
    """
    free = np.ones(len(found), bool)
    pairs = []
    for row, (box, score, label) in enumerate(
        zip(expected.boxes, expected.scores, expected.classes, strict=True)
    ):
        near = np.abs(found.scores - score) <= bounds.score
        rows = np.flatnonzero(free & near & (found.classes == label))
        if not len(rows):
            continue
        overlap = iou_of(box, found.boxes[rows])
        best = int(overlap.argmax())
        if not overlap[best] >= bounds.least_iou:  # as written, NaN is no counterpart
            apart = np.abs(found.boxes[rows] - box).max(axis=1)
            best = int(apart.argmin())
            if not apart[best] <= SAME_PX:
                continue
        free[rows[best]] = False
        pairs.append((row, int(rows[best])))
    return np.array(pairs, np.int64).reshape(-1, 2)


@dataclass
class Differences:
    """What two sides differ in, gathered over images; `thresholds` are those they ran with."""

    bounds: Bounds
    thresholds: Thresholds
    images: int = 0
    detections: int = 0
    unmatched: int = 0
    tied: int = 0
    box_px: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)

    def compare(
        self, expected: Detections, found: Detections, evidence: Evidence | None = None
    ) -> None:
        """Adds one image's detections; see `compared`."""
        pairs, unmatched, tied = compared(expected, found, self.bounds, self.thresholds, evidence)
        self.images += 1
        self.detections += len(expected) + len(found)
        self.unmatched += unmatched
        self.tied += tied
        for mine, theirs in pairs.tolist():
            box = expected.boxes[mine]
            self.box_px.append(float(np.abs(box - found.boxes[theirs]).max()))
            self.iou.append(float(iou_of(box, found.boxes[theirs][None])[0]))
            self.score.append(float(np.abs(expected.scores[mine] - found.scores[theirs])))

    def report(self) -> dict[str, int | float]:
        """The figures: how much was compared, and how far it lies apart."""
        every = max(1, self.detections)
        return {
            "images": self.images,
            "detections": self.detections,
            "matched_share": 2 * len(self.score) / every,
            "unmatched_share": self.unmatched / every,
            "tied_share": self.tied / every,
            "worst_box_px": max(self.box_px, default=0.0),
            "mean_box_px": float(np.mean(self.box_px)) if self.box_px else 0.0,
            "least_iou": min(self.iou, default=1.0),
            "mean_iou": float(np.mean(self.iou)) if self.iou else 1.0,
            "worst_score": max(self.score, default=0.0),
            "mean_score": float(np.mean(self.score)) if self.score else 0.0,
        }

    def figures(self, stage: str = "detections") -> list[Figure]:
        """What is bounded, each with its bound."""
        rule, report = self.bounds, self.report()
        return [
            Figure(stage, "matched_share", report["matched_share"], rule.matched, least=True),
            Figure(stage, "unmatched_share", report["unmatched_share"], rule.unmatched),
            Figure(stage, "tied_share", report["tied_share"], rule.tied),
            Figure(stage, "worst_box_px", report["worst_box_px"], rule.box_px),
            Figure(stage, "worst_score", report["worst_score"], rule.score),
            Figure(stage, "mean_iou", report["mean_iou"], rule.mean_iou, least=True),
        ]

    def beyond(self) -> str | None:
        """The first figure past its bound, in words; None if there is none."""
        past = first_past(self.figures())
        return None if past is None else str(past)
