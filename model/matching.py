"""Which anchor answers for which box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from pydantic import ConfigDict
from torch import Tensor

from model.boxes import area_of, intersection_of, iou_of
from model.chunks import chunk_elements
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
    Works on some anchors at a time, so that memory is bounded whatever N times M.
    Source: Focal Loss paper, sec. 4, 'Anchors': IoU >= .5 foreground, < .4 background.
    """
    step = max(1, chunk_elements(anchors.device) // max(1, len(boxes), len(ignored)))
    # Transposed, so that each coordinate lies in a row: IoU takes half the time.
    pieces = [piece.T for piece in torch.split(anchors.T.contiguous(), step, dim=1)]
    index = [piece.new_full((len(piece),), BACKGROUND, dtype=torch.int64) for piece in pieces]
    if len(boxes):
        best_of_box = boxes.new_zeros(len(boxes))
        for piece, found in zip(pieces, index, strict=True):
            iou = iou_of(boxes, piece)
            best, nearest = iou.max(dim=0)
            found[best >= rule.background] = IGNORED
            positive = best >= rule.foreground
            found[positive] = nearest[positive]
            best_of_box = torch.maximum(best_of_box, iou.amax(dim=1))
        weak = ((best_of_box > 0) & (best_of_box < rule.foreground)).nonzero()[:, 0]
        if rule.low_quality and len(weak):
            for piece, found in zip(pieces, index, strict=True):
                iou = iou_of(boxes[weak], piece)
                is_best = iou == best_of_box[weak, None]
                rescued = (is_best.any(dim=0) & (found < 0)).nonzero()[:, 0]
                found[rescued] = weak[(iou * is_best)[:, rescued].argmax(dim=0)]
    if len(ignored):
        for piece, found in zip(pieces, index, strict=True):
            inside = intersection_of(ignored, piece) / area_of(piece)
            found[(found == BACKGROUND) & (inside >= rule.ignore_ioa).any(dim=0)] = IGNORED
    return Matches(torch.cat(index))
