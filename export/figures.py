"""A measured difference and its bound, and the sentence for one that is past it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured number: `stage` says where in the graph, `name` what.

    Within its bound if it is at most that; with `least`, at least. NaN is never within.
    """

    stage: str
    name: str
    value: float
    bound: float
    least: bool = False

    @property
    def within(self) -> bool:
        return self.value >= self.bound if self.least else self.value <= self.bound

    def __str__(self) -> str:
        where = "" if self.stage == "detections" else f" of the {self.stage}"
        return f"{self.name}{where} is {self.value:.6g}, the bound is {self.bound:g}"


def first_past(figures: Sequence[Figure]) -> Figure | None:
    """The first figure past its bound: where things go wrong, if they stand in graph order."""
    return next((figure for figure in figures if not figure.within), None)
