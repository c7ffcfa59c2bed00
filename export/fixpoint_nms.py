"""Exact greedy NMS in plain tensor operators of static shapes: no sort, no loop, no plugin."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from model.boxes import paired_iou_of

BLOCK = 1000
"""Candidates that are settled at a time. All 5,000 at once are a matrix of 50 MB per image, read in
every round; a block's is 2 MB."""

ROUNDS = 16
"""Measured, with a last round to be sure: 11 for the worst of 16 pictures (blood cells and everyday
photos, 2,000 to 3,000 candidates above .05) at IoU .3, .5 and .7. At a score threshold of .001 one
in 16 takes 18 and the slow way."""


class Ranked(NamedTuple):
    """Candidates by descending score (ties: lower index first) and what NMS says of them.

    Shapes: boxes [B, N, 4], scores [B, N], classes [B, N], keep bool [B, N], converged bool [B]:
    where it is false the rounds did not suffice, and `keep` is not to be trusted.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    keep: Tensor
    converged: Tensor


def fixpoint_nms(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    iou_threshold: Tensor,
    *,
    block: int = BLOCK,
    rounds: int = ROUNDS,
) -> Ranked:
    """Class-wise NMS of the candidates with a score above 0; others are not kept.

    A candidate is kept if no kept one of its class that comes before it overlaps it with IoU >
    `iou_threshold`. Block by block, that rule is applied to all candidates at once, `rounds` times:
    each time at least the first that is undecided is decided for good, so that when a round changes
    nothing the answer is the greedy one.
    Shapes: boxes [B, N, 4] xyxy, scores and classes [B, N], `iou_threshold` [1].
    """
    rank = _rank_of(scores, block)
    boxes = torch.zeros_like(boxes).scatter(1, rank[..., None].expand(-1, -1, 4), boxes)
    scores = torch.zeros_like(scores).scatter(1, rank, scores)
    classes = torch.zeros_like(classes).scatter(1, rank, classes)
    kept: list[Tensor] = []
    steady: list[Tensor] = []
    start = 0
    # 1 and 0 in half precision, [B, 1, N]: a product with a matrix of pairs reads it once, where
    # And and Any write it anew. Its sums of up to N ones may be rounded, but not to 0 or infinity.
    for alive in torch.split((scores > 0).half()[:, None], block, dim=2):
        own = slice(start, start + alive.shape[2])
        if kept:
            rivals = _rivals(boxes, classes, slice(start), own, iou_threshold)
            alive = alive.masked_fill(torch.cat(kept, dim=2) @ rivals.half() > 0, 0)
        index = _index_of(alive[:, 0])
        before = index[:, :, None] < index[:, None]
        rivals = (_rivals(boxes, classes, own, own, iou_threshold) & before).half()
        keep = last = alive
        for _ in range(rounds):
            last, keep = keep, alive.masked_fill(keep @ rivals > 0, 0)
        kept.append(keep)
        steady.append(keep == last)
        start = own.stop
    converged = torch.cat(steady, dim=2).all(dim=2)[:, 0]
    return Ranked(boxes, scores, classes, torch.cat(kept, dim=2)[:, 0] > 0, converged)


def _rivals(
    boxes: Tensor, classes: Tensor, ones: slice, others: slice, iou_threshold: Tensor
) -> Tensor:
    """Which pairs are of one class and overlap too much: bool [B, ones, others]."""
    iou = paired_iou_of(boxes[:, ones, None], boxes[:, None, others])
    return (iou > iou_threshold) & (classes[:, ones, None] == classes[:, None, others])


def _rank_of(scores: Tensor, block: int) -> Tensor:
    """How many of [B, N] come before each: those of higher score, or equal and lower index."""
    index = _index_of(scores)
    ranks = []
    for own, own_index in zip(
        torch.split(scores, block, 1), torch.split(index, block, 1), strict=True
    ):
        tied = (scores[:, None] == own[..., None]) & (index[:, None] < own_index[..., None])
        ranks.append(((scores[:, None] > own[..., None]) | tied).float().sum(dim=2))
    return torch.cat(ranks, dim=1).long()


def _index_of(rows: Tensor) -> Tensor:
    """1, 2, 3, ... for each image: [B, N] -> float32 [B, N].

    Counted at run time: an arange that is compared with itself is a constant of N x N in the file.
    """
    return torch.ones_like(rows, dtype=torch.float32).cumsum(dim=1)
