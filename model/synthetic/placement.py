"""Where the cells of a scene lie, so that every drawn cell can be seen and boxed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.synthetic.classes import PLATELET, RED, WHITE
from model.synthetic.look import REFERENCE_SIDE_PX, Look
from model.synthetic.outline import BoolMap, Outline, Trace, Window
from model.synthetic.platelet import outline_platelet
from model.synthetic.red_cell import outline_red_cell
from model.synthetic.white_cell import (
    KIND_SHARES,
    KINDS,
    RELATIVE_DIAMETERS,
    Kind,
    outline_white_cell,
)

LEAST_IN_IMAGE = 0.25
"""A cell with less of its area than this inside the image is not drawn."""

MOST_HIDDEN = 0.7
"""A cell is not drawn where it would leave another with more than this under later cells."""

TRIES = 12
"""Places tried for a cell before the scene goes without it."""

MEAN_RED_PX, MEAN_PLATELET_PX = 104, 37
"""Box sides in the BCCD training images at 480 px: red 104, platelets 39 with loose boxes."""

Centre = tuple[float, float]


@dataclass
class PlacedCell:
    """A cell with its place; only white cells have a kind.

    `seen` [h, w] is the part of its mask that no later cell covers.
    """

    class_index: int
    kind: Kind | None
    outline: Outline
    window: Window
    trace: Trace
    seen: BoolMap


class _Smear:
    """The cells placed so far, lowest first within each class."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.cells: list[PlacedCell] = []

    def fits(self, centre: Centre, radius: float, nearest: tuple[float, float, float]) -> bool:
        """Whether a cell keeps `nearest[class index]` of the summed radii away from all others."""
        x, y = centre
        for other in self.cells:
            reach = nearest[other.class_index] * (radius + other.outline.mean_radius)
            if (x - other.outline.x) ** 2 + (y - other.outline.y) ** 2 < reach**2:
                return False
        return True

    def add(self, class_index: int, kind: Kind | None, outline: Outline) -> bool:
        """Places the cell over all earlier ones, under white cells; False if it may not be."""
        window = outline.window(self.size)
        if window.empty:
            return False
        trace = outline.trace(window)
        inside = trace.inside
        if np.count_nonzero(inside) < max(1.0, LEAST_IN_IMAGE * outline.area):
            return False
        cell = PlacedCell(class_index, kind, outline, window, trace, inside.copy())
        changed: list[tuple[PlacedCell, BoolMap]] = []
        for other in self.cells:
            later_first = class_index == RED and other.class_index == WHITE
            upper, lower = (other, cell) if later_first else (cell, other)
            seen = _left_to_see(lower, upper)
            if seen is None:
                continue
            if np.count_nonzero(seen) < (1 - MOST_HIDDEN) * np.count_nonzero(lower.trace.inside):
                return False
            if lower is cell:
                cell.seen = seen
            else:
                changed.append((lower, seen))
        for lower, seen in changed:
            lower.seen = seen
        self.cells.append(cell)
        return True


def _left_to_see(lower: PlacedCell, upper: PlacedCell) -> BoolMap | None:
    """What stays of `lower.seen` under `upper`; None where their windows do not meet."""
    left = max(lower.window.left, upper.window.left)
    right = min(lower.window.right, upper.window.right)
    top = max(lower.window.top, upper.window.top)
    bottom = min(lower.window.bottom, upper.window.bottom)
    if right <= left or bottom <= top:
        return None
    seen = lower.seen.copy()
    own, others = lower.window, upper.window
    seen[top - own.top : bottom - own.top, left - own.left : right - own.left] &= ~(
        upper.trace.inside[
            top - others.top : bottom - others.top, left - others.left : right - others.left
        ]
    )
    return seen


def place_cells(rng: np.random.Generator, size: tuple[int, int], look: Look) -> list[PlacedCell]:
    """The cells of a scene of `size` (height, width) in drawing order: red, white, platelets."""
    height, width = size
    side = min(size)
    fields = height * width / side**2 * 3 / 4
    smear = _Smear(size)
    _place_white(rng, smear, look, round(look.white_count * max(1.0, fields)))
    _place_red(rng, smear, look, round(look.red_count * fields))
    _place_platelets(rng, smear, look, round(look.platelet_count * max(1.0, fields)))
    rank = {RED: 0, WHITE: 1, PLATELET: 2}
    return sorted(smear.cells, key=lambda cell: rank[cell.class_index])


def _place_white(rng: np.random.Generator, smear: _Smear, look: Look, count: int) -> None:
    for _ in range(count):
        kind = KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))]
        diameter = float(rng.uniform(*RELATIVE_DIAMETERS[kind])) * look.red_diameter
        for _ in range(TRIES):
            centre = _anywhere(rng, smear.size, 0.05 * diameter)
            if smear.fits(centre, diameter / 2, (0, 0, 1.02)):
                outline = outline_white_cell(rng, centre, diameter, kind)
                if smear.add(WHITE, kind, outline):
                    break


def _place_red(rng: np.random.Generator, smear: _Smear, look: Look, count: int) -> None:
    reds: list[Outline] = []
    for _ in range(count):
        for _ in range(TRIES):
            diameter = look.red_diameter * float(np.clip(rng.normal(1, 0.08), 0.75, 1.3))
            clustered = bool(reds) and rng.random() < look.crowding
            if clustered:
                base = reds[int(rng.integers(len(reds)))]
                away = rng.uniform(0.45, 1.05) * look.red_diameter
                turn = rng.uniform(0, 2 * np.pi)
                centre = (base.x + away * np.cos(turn), base.y + away * np.sin(turn))
            else:
                centre = _anywhere(rng, smear.size, 0.25 * diameter)
            nearest = (0.5, 0.4, 0.9) if clustered else (0.5, 0.93, 0.92)
            if not smear.fits(centre, diameter / 2, nearest):
                continue
            outline = outline_red_cell(rng, centre, diameter)
            if smear.add(RED, None, outline):
                reds.append(outline)
                break


def _place_platelets(rng: np.random.Generator, smear: _Smear, look: Look, count: int) -> None:
    unit = min(smear.size) / REFERENCE_SIDE_PX
    for _ in range(count):
        diameter = float(np.clip(rng.lognormal(np.log(MEAN_PLATELET_PX), 0.18), 25, 58)) * unit
        diameter *= look.red_diameter / (MEAN_RED_PX * unit)
        alone = rng.random() < 0.75
        for _ in range(TRIES):
            centre = _anywhere(rng, smear.size, 0)
            nearest = (1.0, 0.95, 0.95) if alone else (0.8, 0.0, 0.9)
            if not smear.fits(centre, diameter / 2, nearest):
                continue
            if smear.add(PLATELET, None, outline_platelet(rng, centre, diameter)):
                break


def _anywhere(rng: np.random.Generator, size: tuple[int, int], beyond: float) -> Centre:
    """A uniform point of the image or up to `beyond` pixels outside it."""
    height, width = size
    return (
        float(rng.uniform(-beyond, width + beyond)),
        float(rng.uniform(-beyond, height + beyond)),
    )
