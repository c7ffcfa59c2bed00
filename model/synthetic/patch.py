"""One drawn cell as stain to be laid over a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.synthetic.outline import BoolMap, FloatMap, Window

Colour = tuple[float, float, float]
"""Optical density of a stain in red, green and blue: light passing is exp(-density)."""


@dataclass(frozen=True)
class Patch:
    """The stain of one cell inside its window.

    Shapes: density [3, h, w], optical density (negative where the cell edge focuses light);
    opacity [h, w], the fraction of the stain underneath that the cell hides;
    inside [h, w], the mask that the cell's box is measured on.
    """

    window: Window
    density: NDArray[np.float32]
    opacity: FloatMap
    inside: BoolMap

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The tight xyxy box of the mask in image pixels."""
        return mask_box(self.inside, self.window)

    def lay_over(self, density: NDArray[np.float32]) -> None:
        """Adds the cell to a whole scene's `density` [3, H, W], in place."""
        rows, columns = self.window.slices
        below = density[:, rows, columns]
        below *= 1 - self.opacity
        below += self.density


def mask_box(inside: BoolMap, window: Window) -> tuple[float, float, float, float]:
    """The tight xyxy box in image pixels of a mask [h, w] drawn in `window`."""
    columns = np.flatnonzero(inside.any(axis=0))
    rows = np.flatnonzero(inside.any(axis=1))
    if not columns.size:
        raise ValueError("the mask covers no pixel; a box needs at least one")
    return (
        float(window.left + columns[0]),
        float(window.top + rows[0]),
        float(window.left + columns[-1] + 1),
        float(window.top + rows[-1] + 1),
    )


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` of the way (0..1) from `first` to `second`."""
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


def tint(amount: FloatMap, colour: Colour) -> NDArray[np.float32]:
    """Density [3, h, w] of a stain of `colour` whose amount is a map [h, w]."""
    return amount[None] * np.asarray(colour, dtype=np.float32)[:, None, None]
