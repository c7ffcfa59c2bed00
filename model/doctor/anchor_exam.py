"""The anchors against the training boxes, and what would fit these better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.doctor.best_anchors import best_ious
from model.doctor.box_checks import by_picture
from model.doctor.conditions import Conditions
from model.doctor.coverage import CanvasBoxes, Coverage, measure_coverage, together
from model.doctor.data_exam import DataSetExam, sampled
from model.doctor.findings import EXAMPLES, Findings
from model.doctor.proposal import GAIN, LOSS, POOR, Proposal, anchors_toml, propose_anchors
from model.geometry import CANVAS_MULTIPLE, AnchorSpec
from model.letterbox import MAX_CANVAS_SIDE

LOST = 0.2
"""Training learns nonsense if more than this share of the boxes has no anchor at all."""

SCALE_FACTORS = (1.25, 1.5, 2.0)
"""Larger scales whose coverage is told where it is poor."""


@dataclass
class AnchorExam:
    """The training boxes that were matched with anchors, and what came of it.

    `owners` and `pictures`: the data set of each picture and its boxes. Shapes: classes [N], class
    indices in the pictures' order, -1 for a class that the list lacks. Only where coverage is poor:
    `search` for better anchors; `proposed`, what it found, with its coverage; `other_scales`,
    (scale, share reached).
    """

    conditions: Conditions
    owners: list[DataSetExam]
    pictures: list[CanvasBoxes]
    classes: NDArray[np.int64]
    coverage: Coverage
    search: Proposal | None = None
    proposed: tuple[AnchorSpec, Coverage] | None = None
    other_scales: tuple[tuple[int, float], ...] = ()

    @property
    def search_text(self) -> str:
        """What came of the search for better anchors; empty where there was none."""
        if self.search is None:
            return ""
        if self.proposed is None:
            return (
                f"None of {self.search.tried:,} other sets of sizes and ratios wins {GAIN:.0%} of "
                f"the boxes and takes no more than {LOSS:.0%} from any class; the most that one "
                f"reaches is {self.search.most:.1%}."
            )
        now, then = self.coverage, self.proposed[1]
        change = then.best_iou.mean() - now.best_iou.mean()
        moves = "falls" if change < 0 else "rises"
        return (
            f"{then.share_reached():.1%} of the boxes are reached in place of "
            f"{now.share_reached():.1%}; the mean best IoU {moves} by {abs(change):.3f}."
        )

    @property
    def scales_text(self) -> str:
        """What larger scales reach with the anchors of now; empty where none was tried."""
        return ", ".join(f"{share:.1%} at scale {scale}" for scale, share in self.other_scales)

    @property
    def sizes(self) -> NDArray[np.floating]:
        """(width, height) of every box on its canvas [N, 2]."""
        boxes, _ = together(self.pictures)
        return boxes[:, 2:] - boxes[:, :2]

    @property
    def boxes(self) -> Iterator[tuple[DataSetExam, int]]:
        """The data set and the place in it of every box."""
        for data, picture in zip(self.owners, self.pictures, strict=True):
            for place in picture.places.tolist():
                yield data, place


def examine_anchors(
    training: Sequence[DataSetExam],
    classes: Sequence[str],
    conditions: Conditions,
    sample: int,
    findings: Findings,
) -> AnchorExam | None:
    """The exam of at most `sample` pictures of each training set; None if they have no boxes."""
    owners, pictures = [], []
    for data in training:
        for picture in _placed(data, conditions, sample):
            owners.append(data)
            pictures.append(picture)
    if not pictures:
        return None
    place_of = {name: index for index, name in enumerate(classes)}
    labels = [
        place_of.get(data.labels.class_names[index], -1)
        for data, picture in zip(owners, pictures, strict=True)
        for index in data.labels.classes[picture.places].tolist()
    ]
    coverage = measure_coverage(pictures, conditions)
    exam = AnchorExam(conditions, owners, pictures, np.array(labels, np.int64), coverage)
    if (~coverage.reached).mean() > POOR:
        _look_further(exam, training, sample)
    _judge(exam, findings)
    return exam


def _placed(data: DataSetExam, conditions: Conditions, sample: int) -> Iterator[CanvasBoxes]:
    """The boxes that training learns from, on their canvases, of sampled pictures."""
    labels = data.labels
    chosen = set(sampled(len(labels.pictures), sample).tolist())
    known = np.isfinite(data.sizes[labels.picture_of, 0])
    for picture, places in by_picture(labels, data.learnt & known):
        if picture in chosen:
            height, width = data.sizes[picture].astype(int).tolist()
            place = conditions.place((height, width))
            clipped = np.clip(labels.boxes[places], 0, [width, height, width, height])
            boxes = place.boxes_to_canvas(clipped.astype(np.float32))
            yield CanvasBoxes(place.canvas, torch.from_numpy(boxes), places)


def _look_further(exam: AnchorExam, training: Sequence[DataSetExam], sample: int) -> None:
    """Adds the anchors and the scales that would reach more boxes."""
    exam.search = propose_anchors(exam.pictures, exam.classes, exam.conditions)
    if spec := exam.search.spec:
        better = measure_coverage(exam.pictures, replace(exam.conditions, anchors=spec))
        exam.proposed = spec, better
    others = []
    for factor in SCALE_FACTORS:
        scale = round(exam.conditions.scale * factor / CANVAS_MULTIPLE) * CANVAS_MULTIPLE
        if scale * 2 > MAX_CANVAS_SIDE:
            break
        larger = replace(exam.conditions, scale=scale, canvas=None)
        pictures = [picture for data in training for picture in _placed(data, larger, sample)]
        best = best_ious(*together(pictures), larger.anchors).max(axis=(0, 2))
        others.append((scale, float((best >= exam.coverage.foreground).mean())))
    exam.other_scales = tuple(others)


def _judge(exam: AnchorExam, findings: Findings) -> None:
    coverage = exam.coverage
    scales = f" ({exam.scales_text})" if exam.other_scales else ""
    advice = (
        f"{exam.search_text} Raise train.scale{scales}, or cut the pictures into tiles.".strip()
    )
    if exam.proposed:
        section, *lines = anchors_toml(exam.proposed[0]).splitlines()
        advice = f"In {section}: {'; '.join(lines)}. With these {exam.search_text}"
    boxes = list(exam.boxes)
    for code, mask, bound in (
        ("anchors-missing", coverage.without, LOST),
        ("anchors-poor", ~coverage.reached, POOR),
    ):
        if mask.mean() > bound:
            first = [boxes[index] for index in np.flatnonzero(mask)[:EXAMPLES].tolist()]
            findings.add(
                code,
                [data.labels.box_text(place) for data, place in first],
                int(mask.sum()),
                share=f"{mask.mean():.0%}",
                foreground=f"{coverage.foreground:g}",
                advice=advice,
            )
