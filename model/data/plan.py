"""Which pictures each training step shows, for any step at once: nothing is played back."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray


class PlannedBatch(NamedTuple):
    """Pictures int64 [B], all of one group."""

    group: int
    pictures: NDArray[np.int64]


class _Epoch(NamedTuple):
    """One pass over the pictures.

    `first_step`: the step of its first batch. `entries`: each group's pictures in order.
    `entries_before` [G]: how many its groups have had in earlier epochs. `batches`: the (group,
    number) of the batches that this epoch completes, in the order of their steps.
    """

    first_step: int
    entries: list[NDArray[np.int64]]
    entries_before: NDArray[np.int64]
    batches: list[tuple[int, int]]


class Plan:
    """The pictures of every step's batch, decided by the seed and the step's number alone.

    `times` [N]: how often an epoch shows each picture, fractions included. Epoch e shows picture i
    floor((e + 1) t + u) - floor(e t + u) times, with a u in [0, 1) of its own: t rounded down or
    up, and exactly t on average.
    `groups` [N]: a batch holds pictures of one group, from 0. An epoch's order is a permutation of
    its entries; each group's entries, epoch after epoch, are cut into batches, so that no picture
    is dropped and what is missing from a whole batch comes from the next epoch. The batches that
    an epoch completes are shuffled if there are several groups; one group's stay in order.
    """

    def __init__(
        self,
        times: NDArray[np.float64],
        groups: NDArray[np.int64],
        batch_size: int,
        seed: int,
    ) -> None:
        self.times, self.groups, self.batch_size, self.seed = times, groups, batch_size, seed
        self._starts = default_rng([seed, 3]).random(len(times))
        # A batch's first pictures may be of the epoch before.
        self._epoch = lru_cache(maxsize=2)(self._made)
        self._number = 0

    def batch(self, step: int) -> PlannedBatch:
        """The batch of a step, from 0."""
        epoch = self._epoch(self._number)
        if not 0 <= step - epoch.first_step < len(epoch.batches):
            self._number = self._epoch_of_step(step)
            epoch = self._epoch(self._number)
        number = self._number
        group, batch = epoch.batches[step - epoch.first_step]
        first, last = batch * self.batch_size, (batch + 1) * self.batch_size
        parts: list[NDArray[np.int64]] = []
        while True:
            before = int(epoch.entries_before[group])
            parts.append(epoch.entries[group][max(0, first - before) : last - before])
            if before <= first:
                return PlannedBatch(group, np.concatenate(parts[::-1]))
            number -= 1
            epoch = self._epoch(number)

    def _epoch_of_step(self, step: int) -> int:
        # Each picture and each group may be less than one entry, or one batch, behind its share.
        slack = len(self.times) + (step + 1 + self.groups.max() + 1) * self.batch_size
        bound = int(slack / self.times.sum()) + 2
        return bisect_right(range(bound), step, key=self._steps_before) - 1

    def _steps_before(self, epoch: int) -> int:
        return int((self._entries_before(epoch) // self.batch_size).sum())

    def _entries_before(self, epoch: int) -> NDArray[np.int64]:
        return np.bincount(self.groups, weights=self._shown_before(epoch)).astype(np.int64)

    def _shown_before(self, epoch: int) -> NDArray[np.int64]:
        return np.floor(epoch * self.times + self._starts).astype(np.int64)

    def _made(self, number: int) -> _Epoch:
        shown = self._shown_before(number + 1) - self._shown_before(number)
        entries = np.repeat(np.arange(len(shown)), shown)
        entries = entries[default_rng([self.seed, 0, number]).permutation(len(entries))]
        group_of = self.groups[entries]
        before = self._entries_before(number)
        firsts, lasts = (self._entries_before(n) // self.batch_size for n in (number, number + 1))
        batches = [
            (group, batch)
            for group, (first, last) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True))
            for batch in range(first, last)
        ]
        if len(before) > 1:
            default_rng([self.seed, 4, number]).shuffle(batches)
        return _Epoch(
            int(firsts.sum()),
            [entries[group_of == group] for group in range(len(before))],
            before,
            batches,
        )
