"""The class loss of a batch, summed over all anchors and classes in little memory.

The plain way keeps the logits' float32 copy, a dense one-hot and a handful of maps of their size
for autograd. Here the logits are swept once, level by level in pieces that fit a cache, and one
buffer is kept: their gradient, in their own precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.chunks import chunk_elements
from model.losses.classification import ClassLoss


class Rows(NamedTuple):
    """Anchors whose targets are spelled out: image [R], anchor [R] (counted over all levels),
    targets [R, K] in [0, 1], counted bool [R, K].
    """

    image: Tensor
    anchor: Tensor
    targets: Tensor
    counted: Tensor


class Background(NamedTuple):
    """Anchors whose targets are all 0: which, bool [B, N], and for each image the indices of the
    classes that its background says nothing about.
    """

    member: Tensor
    unlabelled: Sequence[Tensor]


def summed_class_loss(
    levels: Sequence[Tensor],
    loss: ClassLoss,
    weights: Tensor,
    rows: Rows,
    background: Background | None,
) -> Tensor:
    """The losses of rows and background, each multiplied by its image's weight, summed: a scalar.

    Shapes: levels P3..P7 of logits [B, N_level, K], of any floating type; weights [B], float32.
    Its gradient can be taken once: it is made in this call, and scaled in place when given away.
    """
    total: Tensor = _SummedClassLoss.apply(loss, weights, rows, background, *levels)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def losses_of_anchors(
    levels: Sequence[Tensor], loss: ClassLoss, rows: Rows, unlabelled: Sequence[Tensor]
) -> Tensor:
    """The loss of each anchor summed over its classes, [B, N]: that of its row where it has one,
    of the background elsewhere. Carries no gradient.
    """
    num_anchors = sum(level.shape[1] for level in levels)
    found = levels[0].new_empty((len(levels[0]), num_anchors), dtype=torch.float32)
    for piece in _pieces(levels):
        values = loss.background(piece.of(levels)).loss
        values.index_fill_(1, unlabelled[piece.image], 0.0)
        found[piece.image, piece.anchors] = values.sum(dim=1)
    for level, own, place in _places(levels, rows):
        values = loss.labelled(levels[level][place], rows.targets[own]).loss
        found[rows.image[own], rows.anchor[own]] = values.sum(dim=1)
    return found


class _Piece(NamedTuple):
    """Some anchors of one image on one level: their rows there, and counted over all levels."""

    level: int
    image: int
    rows: slice
    anchors: slice

    def of(self, levels: Sequence[Tensor]) -> Tensor:
        return levels[self.level][self.image, self.rows]


def _pieces(levels: Sequence[Tensor]) -> Iterator[_Piece]:
    first = 0
    for level, logits in enumerate(levels):
        images, rows, classes = logits.shape
        step = max(1, chunk_elements(logits.device) // classes)
        for image in range(images):
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                yield _Piece(level, image, slice(start, stop), slice(first + start, first + stop))
        first += rows


def _places(
    levels: Sequence[Tensor], rows: Rows
) -> Iterator[tuple[int, Tensor, tuple[Tensor, Tensor]]]:
    """Per level: its index, which rows lie on it, and where: (image, row)."""
    first = 0
    for level, logits in enumerate(levels):
        last = first + logits.shape[1]
        own = ((rows.anchor >= first) & (rows.anchor < last)).nonzero()[:, 0]
        yield level, own, (rows.image[own], rows.anchor[own] - first)
        first = last


class _SummedClassLoss(torch.autograd.Function):
    """See `summed_class_loss`."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: ClassLoss,
        weights: Tensor,
        rows: Rows,
        background: Background | None,
        *levels: Tensor,
    ) -> Tensor:
        new = torch.empty_like if background else torch.zeros_like
        gradients = [new(level, dtype=_gradient_type(level.dtype)) for level in levels]
        sums = [weights.new_zeros(())]
        if background:
            for piece in _pieces(levels):
                values, slopes = loss.background(piece.of(levels))
                others = (~background.member[piece.image, piece.anchors]).nonzero()[:, 0]
                for graded in (values, slopes):
                    graded.index_fill_(0, others, 0.0)
                    graded.index_fill_(1, background.unlabelled[piece.image], 0.0)
                weight = weights[piece.image]
                sums.append(values.sum() * weight)
                torch.mul(slopes, weight, out=piece.of(gradients))
        for level, own, place in _places(levels, rows):
            values, slopes = loss.labelled(levels[level][place], rows.targets[own])
            factors = rows.counted[own] * weights[rows.image[own], None]
            sums.append((values * factors).sum())
            gradients[level][place] = (slopes * factors).to(gradients[level].dtype)
        ctx.save_for_backward(*gradients)
        return torch.stack(sums).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (gradient.mul_(upstream) for gradient in ctx.saved_tensors)
        return None, None, None, None, *gradients


def _gradient_type(dtype: torch.dtype) -> torch.dtype:
    """bfloat16 for float16: background gradients of 1e-9 must live until the loss scale comes."""
    return torch.bfloat16 if dtype == torch.float16 else dtype
