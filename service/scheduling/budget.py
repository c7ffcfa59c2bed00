"""How many images a batch may hold: the limits, and less where memory did not suffice."""

from __future__ import annotations

from dataclasses import dataclass

from model.letterbox import Canvas
from service.scheduling.schedule import Limits

PATIENCE = 64
"""Full batches in a row that must have gone well before one more image is tried."""

MAX_PATIENCE = 64 * PATIENCE
"""Patience doubles with each time the memory runs out, up to this."""


@dataclass
class _Lowered:
    capacity: int
    patience: int
    went_well: int = 0


class Budget:
    """The limits, lowered for a canvas after its batches ran out of memory, and raised again."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lowered: dict[Canvas, _Lowered] = {}

    def capacity(self, canvas: Canvas) -> int:
        """Images of this canvas that one batch may hold for now."""
        lowered = self._lowered.get(canvas)
        return lowered.capacity if lowered else self._limits.capacity(canvas)

    def ran_out(self, canvas: Canvas, size: int) -> None:
        """Batches of this canvas hold half as many images as the one that ran out of memory."""
        capacity = min(self.capacity(canvas), max(1, size // 2))
        if capacity == self._limits.capacity(canvas):
            return  # a lone image: there is nothing to lower
        known = self._lowered.get(canvas)
        patience = min(MAX_PATIENCE, known.patience * 2) if known else PATIENCE
        self._lowered[canvas] = _Lowered(capacity, patience)

    def went_well(self, canvas: Canvas, size: int) -> None:
        """Takes a batch that ran into account; enough full ones in a row try one image more."""
        lowered = self._lowered.get(canvas)
        if lowered is None or size < lowered.capacity:
            return
        lowered.went_well += 1
        if lowered.went_well >= lowered.patience:
            lowered.went_well = 0
            lowered.capacity += 1
            if lowered.capacity >= self._limits.capacity(canvas):
                del self._lowered[canvas]
