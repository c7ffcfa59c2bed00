"""Random predictions of every awkward kind, and what the exported view must make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from export.contract import OUTPUTS
from export.manifest import Thresholds
from model.anchors import anchors_of_canvas
from model.geometry import STRIDES, AnchorSpec, grid_of_canvas
from model.letterbox import Canvas
from model.postprocess import Detections, candidates_of, class_wise_nms
from model.retinanet import Predictions

CANVAS = Canvas(32, 64)
"""Levels of 288, 72, 18, 9 and 9 anchors."""

BATCH = 25

LOW = -20.0
"""A logit below any threshold but 0."""


class Trial(NamedTuple):
    """A batch of predictions, with the thresholds to post-process them at."""

    kind: str
    predictions: Predictions
    sizes: Tensor
    score_threshold: float = 0.05
    iou_threshold: float = 0.5


def trials(num_classes: int, count: int) -> Iterator[Trial]:
    """`count` batches, each kind in turn, of seeds of their own."""
    kinds = list(KINDS)
    for seed in range(count):
        kind = kinds[seed % len(kinds)]
        random = torch.Generator().manual_seed(seed)
        trial = KINDS[kind](_plain(num_classes, random), random)
        yield trial._replace(kind=kind)


def _plain(num_classes: int, random: torch.Generator) -> Trial:
    """Some of each level above the threshold, boxes about the anchors, some outside the image."""
    logits, deltas = [], []
    share = min(1.0, 30 / num_classes / 288)
    for stride in STRIDES:
        rows, columns = grid_of_canvas(CANVAS, stride)
        count = rows * columns * 9
        level = torch.randn((BATCH, count, num_classes), generator=random) - 2
        seen = torch.rand(level.shape, generator=random) < share * min(8, stride // 8) ** 2
        logits.append(torch.where(seen, level, LOW))
        deltas.append(torch.randn((BATCH, count, 4), generator=random) * 0.5)
    sizes = torch.stack(
        [torch.randint(17, side + 1, (BATCH,), generator=random) for side in CANVAS], dim=1
    )
    return Trial("", Predictions(logits, deltas), sizes)


def _mapped(
    trial: Trial,
    logits: Callable[[Tensor], Tensor] = lambda level: level,
    deltas: Callable[[Tensor], Tensor] = lambda level: level,
) -> Trial:
    predictions = Predictions(
        [logits(level) for level in trial.predictions.logits],
        [deltas(level) for level in trial.predictions.deltas],
    )
    return trial._replace(predictions=predictions)


def _ties(trial: Trial, _: torch.Generator) -> Trial:
    """Few scores in all."""
    return _mapped(
        trial, lambda level: level.clamp(min=LOW, max=0).div(2, rounding_mode="floor") * 2
    )


def _duplicates(trial: Trial, _: torch.Generator) -> Trial:
    """Every box is the whole of the valid image."""
    return _mapped(
        trial, deltas=lambda level: torch.full_like(level, 9.0) * torch.tensor([0, 0, 1, 1])
    )


def _chains(trial: Trial, random: torch.Generator) -> Trial:
    """Anchors of one shape and class along the rows of P3, each overlapping the next."""
    order = torch.argsort(torch.rand((BATCH, 32), generator=random)).float()
    ascending = torch.arange(32.0).expand(BATCH, -1)
    alike = torch.where(torch.rand((BATCH, 1), generator=random) < 0.5, order, ascending)
    logits = [torch.full_like(level, LOW) for level in trial.predictions.logits]
    logits[0][:, 4::9, 0] = 2 - alike / 16
    trial = trial._replace(predictions=trial.predictions._replace(logits=logits))
    return _mapped(trial, deltas=torch.zeros_like)


def _degenerate(trial: Trial, random: torch.Generator) -> Trial:
    """Half of the boxes without width or height, or far outside."""

    def spoilt(level: Tensor) -> Tensor:
        kind = torch.randint(0, 6, level.shape[:2], generator=random)[..., None]
        flat = torch.tensor([0.0, 0.0, -200.0, 0.0])
        far = torch.tensor([0.0, -50.0, 0.0, 0.0])
        return torch.where(
            kind == 0, flat, torch.where(kind == 1, flat.roll(1), level + far * (kind == 2))
        )

    return _mapped(trial, deltas=spoilt)


def _below(trial: Trial, _: torch.Generator) -> Trial:
    return _mapped(trial, lambda level: level - 30)


def _saturated(trial: Trial, random: torch.Generator) -> Trial:
    """More pairs above the threshold than a level may give."""
    return _mapped(trial, lambda level: torch.randn(level.shape, generator=random) + 1)


def _scores_at_threshold(trial: Trial, _: torch.Generator) -> Trial:
    """Scores of exactly one half, and just above it."""
    trial = _mapped(
        trial, lambda level: torch.where(level > LOW, (level + 2).round().clamp(-1, 1), LOW)
    )
    return trial._replace(score_threshold=0.5)


def _overlaps_at_threshold(trial: Trial, random: torch.Generator) -> Trial:
    """Anchors of 32 pixels whose overlap along a row is 3/5, along the next but one 1/3."""
    trial = _chains(trial, random)
    sizes = torch.tensor(CANVAS).expand(BATCH, 2)
    threshold = (0.6, 1 / 3)[int(torch.randint(0, 2, (), generator=random))]
    return trial._replace(sizes=sizes, iou_threshold=threshold)


def _open(trial: Trial, random: torch.Generator) -> Trial:
    """No score is too low, whatever overlaps goes or nothing does."""
    threshold = (0.0, 1.0)[int(torch.randint(0, 2, (), generator=random))]
    return _saturated(trial, random)._replace(score_threshold=0.0, iou_threshold=threshold)


KINDS: dict[str, Callable[[Trial, torch.Generator], Trial]] = {
    "plain": lambda trial, _: trial,
    "ties": _ties,
    "duplicates": _duplicates,
    "chains": _chains,
    "degenerate": _degenerate,
    "below": _below,
    "saturated": _saturated,
    "scores at the threshold": _scores_at_threshold,
    "overlaps at the threshold": _overlaps_at_threshold,
    "open": _open,
}


def oracle(trial: Trial, limits: Thresholds) -> list[list[Detections]]:
    """The candidates of each image and level."""
    anchors = anchors_of_canvas(CANVAS, AnchorSpec())
    return candidates_of(
        trial.predictions, anchors, trial.sizes, trial.score_threshold, limits.pre_nms_top_k
    )


def check(
    trial: Trial,
    expected: list[list[Detections]],
    outputs: Sequence[Tensor],
    candidates: Sequence[Tensor],
    limits: Thresholds,
) -> int:
    """Compares a view's detections and candidates with the oracle's; returns how many were found.

    The candidates are the oracle's, but for their order and rounding; and of these candidates, the
    detections are exactly those that the oracle's NMS keeps.
    """
    found = 0
    for image, levels in enumerate(expected):
        boxes, scores, classes = (part[image] for part in candidates)
        real = scores > 0
        boxes, scores, classes = boxes[real], scores[real], classes[real]
        _assert_same_set(
            Detections(*map(torch.cat, zip(*levels, strict=True))), (boxes, scores, classes)
        )
        threshold = float(torch.tensor(trial.iou_threshold))  # as float32 has it
        best = class_wise_nms(boxes, scores, classes, threshold)[: limits.max_detections]
        count, *rows = (part[image] for part in outputs[: len(OUTPUTS["cpu"])])
        assert int(count) == len(best), trial.kind
        for mine, theirs in zip(rows, (boxes, scores, classes), strict=True):
            assert torch.equal(mine[: len(best)], theirs[best]), trial.kind
        assert not rows[0][len(best) :].any()
        assert not rows[1][len(best) :].any()
        assert (rows[2][len(best) :] == -1).all()
        found += len(best)
    return found


def _assert_same_set(expected: Detections, found: tuple[Tensor, Tensor, Tensor]) -> None:
    boxes, scores, classes = expected
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores, classes = boxes[solid], scores[solid], classes[solid]
    assert len(found[1]) == len(scores)
    same = classes[:, None] == found[2]
    same &= (scores[:, None] - found[1]).abs() <= 1e-6  # the last bit of a sigmoid
    same &= (boxes[:, None] - found[0]).abs().amax(dim=2) <= 1e-3  # another order of operations
    assert same.any(dim=0).all()
    assert same.any(dim=1).all()
