"""The endless stream of training samples, each decided by the seed and its position alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import default_rng
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from model.criterion import Target
from model.data.augment import Augmentation, augmented
from model.data.plan import Plan, PlannedBatch
from model.data.rare import repeat_factors
from model.data.records import DataSet, Record, class_index_of
from model.data.sources import Source
from model.errors import InputError
from model.letterbox import Canvas, letterbox


@dataclass(frozen=True)
class LabelledPicture:
    """A record, the classes that it labels completely, bool [K], and its times in an epoch."""

    record: Record
    complete: NDArray[np.bool_]
    times: float


class Draw(NamedTuple):
    """A sample to come: its position in the stream, which picture, and on which canvas."""

    position: int
    picture: int
    canvas: Canvas


class Batch(NamedTuple):
    """images uint8 [B, H, W, 3], image_sizes int64 [B, 2], and each picture's target and name."""

    images: Tensor
    image_sizes: Tensor
    targets: list[Target]
    names: list[str]


def epoch_of(
    parts: Sequence[tuple[Source, DataSet]], rare_below: float = 0.0
) -> list[LabelledPicture]:
    """The pictures of all sources, shown as often as their source repeats them and as
    `repeat_factors` says for the threshold `rare_below`, the one times the other.

    InputError if there are none, or if a source's `partial_below` names an unknown class.
    """
    records = [record for _, data in parts for record in data.records]
    if not records:
        raise InputError(f"no pictures to train on in {', '.join(d.name for _, d in parts)}")
    class_count = len(parts[0][1].classes)
    factors = iter(repeat_factors([r.classes for r in records], class_count, rare_below).tolist())
    pictures = []
    for source, data in parts:
        for name in source.partial_below:
            class_index_of(name, data.classes, "partial_below")
        least = np.array([source.partial_below.get(name, 0) for name in data.classes])
        for record in data.records:
            counts = np.bincount(record.classes, minlength=class_count)
            times = source.repeat * next(factors)
            pictures.append(LabelledPicture(record, counts >= least, times))
    return pictures


class SampleStream(Dataset[Batch]):
    """Training samples, the same on every run, in every process, after every resume.

    A sample's augmentation is drawn from (seed, its position); which picture it shows is the
    plan's part. With one canvas every picture goes there; with several each goes to the one that
    serving would choose for it, and the plan's groups are those canvases. A picture that is
    transposed at random belongs to the transposed canvas as well: such canvases are one group, and
    each of its batches is on one or the other.
    """

    def __init__(
        self,
        pictures: Sequence[LabelledPicture],
        canvases: Sequence[Canvas],
        scale: int,
        rule: Augmentation,
        seed: int,
    ) -> None:
        self.pictures, self.scale, self.rule, self.seed = pictures, scale, rule, seed
        self.turning = len(canvases) > 1 and "transpose" in rule.flips
        sizes = {entry.record.size for entry in pictures}
        own = {size: letterbox(size, scale, canvases).canvas for size in sizes}
        self.own_canvas = own
        if self.turning:
            own = {size: Canvas(min(canvas), max(canvas)) for size, canvas in own.items()}
        self.canvases = sorted(set(own.values()))
        self.groups = np.array([self.canvases.index(own[p.record.size]) for p in pictures])

    def plan(self, batch_size: int) -> Plan:
        """Which pictures make up batches of this many images."""
        times = np.array([entry.times for entry in self.pictures])
        return Plan(times, self.groups, batch_size, self.seed)

    def draws(self, step: int, batch: PlannedBatch) -> list[Draw]:
        """The samples of a step's planned batch."""
        canvas = self.canvases[batch.group]
        if self.turning and default_rng([self.seed, 2, step]).random() < 0.5:
            canvas = Canvas(canvas.width, canvas.height)
        first = step * len(batch.pictures)
        return [Draw(first + i, int(n), canvas) for i, n in enumerate(batch.pictures)]

    def __getitem__(self, draws: Sequence[Draw]) -> Batch:
        """The batch of samples on one canvas."""
        images, sizes, targets, names = zip(*map(self.sample, draws), strict=True)
        return Batch(torch.stack(images), torch.stack(sizes), list(targets), list(names))

    def sample(self, draw: Draw) -> tuple[Tensor, Tensor, Target, str]:
        """Image, image size, target and name of one sample; see `Batch`."""
        entry = self.pictures[draw.picture]
        record = entry.record
        may_turn = self.turning and draw.canvas.height != draw.canvas.width
        sample = augmented(
            record.picture(),
            record.boxes,
            record.classes,
            record.ignored,
            draw.canvas,
            self.scale,
            self.rule,
            default_rng([self.seed, 1, draw.position]),
            draw.canvas != self.own_canvas[record.size] if may_turn else None,
        )
        target = Target(
            torch.from_numpy(sample.boxes),
            torch.from_numpy(sample.classes),
            torch.from_numpy(sample.ignored),
            torch.from_numpy(entry.complete),
        )
        image, size = torch.from_numpy(sample.image), torch.tensor(sample.image_size)
        return image, size, target, str(record.source)
