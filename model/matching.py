"""Which anchor answers for which box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from pydantic import ConfigDict
from torch import Tensor

from model.boxes import area_of, intersection_of, iou_of
from model.errors import InputError


@dataclass(frozen=True)
class Matching:
    """The matching rule; IoU thresholds of the paper, sec. 4, 'Anchors'.

    `low_quality`: a box whose best anchors stay below `foreground` gets those anchors all the same.
    Departs: the paper's text has no such rule, Detectron's code has; under the literal rule small
    or odd-shaped objects get no anchor at all. False gives the paper's literal rule.
    """

    foreground: float = 0.5
    background: float = 0.4
    low_quality: bool = True
    ignore_ioa: float = 0.5
    """Background anchors with this share of their area inside an ignored region do not count."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not 0.0 <= self.background <= self.foreground <= 1.0:
            raise InputError(
                f"matching background {self.background}, foreground {self.foreground}: "
                "accepted is 0 <= background <= foreground <= 1"
            )
        if not 0.0 < self.ignore_ioa <= 1.0:
            raise InputError(f"matching ignore_ioa {self.ignore_ioa}: accepted is 0 < it <= 1")


class Matches(NamedTuple):
    """Per anchor: the index of its box, or BACKGROUND or IGNORED.  Shape [N], int64."""

    box_index: Tensor

    @property
    def positive(self) -> Tensor:
        """Anchors assigned to a box, bool [N]."""
        return self.box_index >= 0

    @property
    def counted(self) -> Tensor:
        """Anchors that take part in the classification loss, bool [N]."""
        return self.box_index != IGNORED


BACKGROUND = -1
IGNORED = -2


def match_anchors(
    anchors: Tensor,
    boxes: Tensor,
    ignored: Tensor,
    rule: Matching = Matching(),
) -> Matches:
    """Assigns every anchor to a box, to the background, or to neither.

    Shapes: anchors [N, 4], boxes [M, 4], ignored [R, 4] (crowd regions); M and R may be 0.
    Units: xyxy, canvas pixels.
    Source: Focal Loss paper, sec. 4, 'Anchors': IoU >= .5 foreground, < .4 background.
    """
    index = anchors.new_full((len(anchors),), BACKGROUND, dtype=torch.int64)
    if len(boxes):
        iou = iou_of(anchors, boxes)
        best, nearest = iou.max(dim=1)
        index[best >= rule.background] = IGNORED
        positive = best >= rule.foreground
        index[positive] = nearest[positive]
        if rule.low_quality:
            best_of_box = iou.amax(dim=0)
            is_best = (iou == best_of_box) & (best_of_box > 0) & (best_of_box < rule.foreground)
            rescued = is_best.any(dim=1) & ~positive
            index[rescued] = (iou * is_best).argmax(dim=1)[rescued]
    if len(ignored):
        inside = intersection_of(anchors, ignored) / area_of(anchors)[:, None]
        index[(index == BACKGROUND) & (inside >= rule.ignore_ioa).any(dim=1)] = IGNORED
    return Matches(index)
