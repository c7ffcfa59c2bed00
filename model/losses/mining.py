"""Online hard example mining: the class loss of an image's hardest anchors alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from model.boxes import nms
from model.errors import InputError
from model.matching import IGNORED

METHODS = ("ohem", "ohem_1_3")
NEGATIVES_PER_POSITIVE = 3
"""Of `ohem_1_3`; Liu et al., 2016, 'SSD', sec. 2.2, 'Hard negative mining'."""


@dataclass(frozen=True)
class Mining:
    """Which anchors of an image make its minibatch.

    `ohem`: each anchor is scored by its loss, NMS at IoU `nms` thins them out, and the `batch_size`
    of highest loss remain. `ohem_1_3`: as many positives as a quarter of `batch_size` has room for,
    and three negatives for each of them, both of highest loss after NMS; an image without positives
    has an empty minibatch, as in SSD.
    Source: Focal Loss paper, sec. 5.1, 'Online Hard Example Mining', and Table 1d.
    Departs: in `ohem_1_3` positives and negatives go through NMS apart, the paper's 'to all
    examples' together. So no hard negative removes a positive, which the ratio is there to keep,
    and the positives that remain are known without NMS over ~100k easy negatives.
    """

    method: str = "ohem"
    batch_size: int = 128
    nms: float = 0.5

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"mining method {self.method!r}: accepted are {', '.join(METHODS)}")
        if self.batch_size < 1 + NEGATIVES_PER_POSITIVE:
            raise InputError(f"mining batch_size {self.batch_size}: accepted are numbers from 4")
        if not 0.0 <= self.nms <= 1.0:
            raise InputError(f"mining nms {self.nms}: accepted are 0 to 1")


def hardest_anchors(anchors: Tensor, losses: Tensor, index: Tensor, rule: Mining) -> Tensor:
    """Which anchors make the minibatch of their image, bool [B, N].

    Shapes: anchors [N, 4], losses [B, N] (summed over the classes), index [B, N] of `Matches`.
    """
    chosen = torch.zeros_like(index, dtype=torch.bool)
    for image in range(len(index)):
        positive = index[image] >= 0
        counted = index[image] != IGNORED

        def hardest(group: Tensor, limit: int, image: int = image) -> Tensor:
            places = group.nonzero()[:, 0]
            return places[nms(anchors[places], losses[image, places], rule.nms, limit)]

        if rule.method == "ohem":
            chosen[image, hardest(counted, rule.batch_size)] = True
        else:
            positives = hardest(positive, rule.batch_size // (1 + NEGATIVES_PER_POSITIVE))
            negatives = hardest(counted & ~positive, NEGATIVES_PER_POSITIVE * len(positives))
            chosen[image, torch.cat([positives, negatives])] = True
    return chosen
