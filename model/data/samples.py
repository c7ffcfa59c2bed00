"""The endless stream of training samples, each decided by the seed and its position alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import default_rng
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from model.criterion import Target
from model.data.augment import Augmentation, augmented
from model.data.records import DataSet, Record, class_index_of
from model.data.sources import Source
from model.errors import InputError
from model.letterbox import Canvas


@dataclass(frozen=True)
class LabelledPicture:
    """A record and the classes that it labels completely, bool [K]."""

    record: Record
    complete: np.ndarray


class Batch(NamedTuple):
    """images uint8 [B, H, W, 3], image_sizes int64 [B, 2], and each picture's target and name."""

    images: Tensor
    image_sizes: Tensor
    targets: list[Target]
    names: list[str]


def epoch_of(parts: Sequence[tuple[Source, DataSet]]) -> list[LabelledPicture]:
    """The pictures of one epoch, each as often as its source repeats it.

    InputError if there are none, or if a source's `partial_below` names an unknown class.
    """
    pictures = []
    for source, data in parts:
        for name in source.partial_below:
            class_index_of(name, data.classes, "partial_below")
        least = np.array([source.partial_below.get(name, 0) for name in data.classes])
        for record in data.records:
            counts = np.bincount(record.classes, minlength=len(data.classes))
            pictures += [LabelledPicture(record, counts >= least)] * source.repeat
    if not pictures:
        raise InputError(f"no pictures to train on in {', '.join(d.name for _, d in parts)}")
    return pictures


class SampleStream(Dataset[tuple[Tensor, Tensor, Target, str]]):
    """Sample number `position`, the same on every run, in every process, after every resume.

    Each epoch is a permutation of `pictures` drawn from (seed, epoch); each sample's augmentation
    is drawn from (seed, position).
    """

    def __init__(
        self,
        pictures: list[LabelledPicture],
        canvas: Canvas,
        scale: int,
        rule: Augmentation,
        seed: int,
    ) -> None:
        self.pictures, self.canvas, self.scale = pictures, canvas, scale
        self.rule, self.seed = rule, seed
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Target, str]:
        epoch, index = divmod(position, len(self.pictures))
        if self._order[0] != epoch:
            order = default_rng([self.seed, 0, epoch]).permutation(len(self.pictures))
            self._order = (epoch, order)
        entry = self.pictures[self._order[1][index]]
        record = entry.record
        sample = augmented(
            record.picture(),
            record.boxes,
            record.classes,
            record.ignored,
            self.canvas,
            self.scale,
            self.rule,
            default_rng([self.seed, 1, position]),
        )
        target = Target(
            torch.from_numpy(sample.boxes),
            torch.from_numpy(sample.classes),
            torch.from_numpy(sample.ignored),
            torch.from_numpy(entry.complete),
        )
        image, size = torch.from_numpy(sample.image), torch.tensor(sample.image_size)
        return image, size, target, str(record.source)


class BatchPositions(Sampler[list[int]]):
    """The positions of each training step's batch, from step `first` to before step `last`."""

    def __init__(self, first: int, last: int, batch_size: int) -> None:
        self.first, self.last, self.batch_size = first, last, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            yield list(range(step * self.batch_size, (step + 1) * self.batch_size))

    def __len__(self) -> int:
        return self.last - self.first


def collate(samples: Sequence[tuple[Tensor, Tensor, Target, str]]) -> Batch:
    """A batch of samples on one canvas."""
    images, sizes, targets, names = zip(*samples, strict=True)
    return Batch(torch.stack(images), torch.stack(sizes), list(targets), list(names))
