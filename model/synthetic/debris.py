"""Specks that are no cells: stain grains, dust rings, bubbles and smears. Never annotated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.synthetic.outline import FloatMap, Trace, draw_outline, smooth_step
from model.synthetic.patch import Colour, tint

LARGEST_VIOLET_PX = 13.0
"""Diameter at a 480 px shorter side; platelets start at 25, so the two are not confused."""


def scatter_debris(
    rng: np.random.Generator,
    density: NDArray[np.float32],
    count: int,
    unit: float,
    perches: Sequence[tuple[float, float]],
) -> None:
    """Adds `count` specks to a scene's density [3, H, W], in place.

    `unit` scales their size; bubbles sit near one of `perches` (x, y), if there are any: in
    photographs they lie on red cells.
    """
    _, height, width = density.shape
    for _ in range(count):
        kind = rng.choice(4, p=(0.5, 0.28, 0.17, 0.05))
        diameter, draw = (
            (rng.uniform(6, 11), _dust),
            (rng.uniform(8, 32), _bubble),
            (rng.uniform(4, LARGEST_VIOLET_PX), _grain),
            (rng.uniform(15, 50), _smear),
        )[kind]
        centre = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
        if draw is _bubble and perches:
            x, y = perches[int(rng.integers(len(perches)))]
            sway = 18 * unit
            centre = (x + float(rng.normal(0, sway)), y + float(rng.normal(0, sway)))
        outline = draw_outline(rng, centre, max(2.0, diameter * unit), rng.uniform(1, 1.5), 0.07)
        window = outline.window((height, width))
        if window.empty:
            continue
        amount, colour = draw(rng, outline.trace(window))
        rows, columns = window.slices
        density[:, rows, columns] += tint(amount, colour)


def _dust(rng: np.random.Generator, trace: Trace) -> tuple[FloatMap, Colour]:
    """A faint grey ring with a bright middle, from dust on the optics."""
    amount = _ring(trace, 0.8, 0.35) - np.float32(0.9) * _ring(trace, 0.0, 0.45)
    grey = float(rng.uniform(0.05, 0.22))
    return amount, (grey, grey, grey)


def _bubble(rng: np.random.Generator, trace: Trace) -> tuple[FloatMap, Colour]:
    """A refractile spot: a thin dark purplish line around a bright glint."""
    line = float(rng.uniform(0.1, 0.25))
    amount = _ring(trace, 0.75, line) - np.float32(rng.uniform(0.2, 0.8)) * _ring(trace, 0.2, 0.4)
    side = np.float32(rng.uniform(-0.6, 0.6)) * trace.dx / np.float32(np.abs(trace.dx).max())
    depth = float(rng.uniform(0.05, 0.5))
    return amount * (1 + side)[None, :], (depth * 0.8, depth, depth * 0.6)


def _grain(rng: np.random.Generator, trace: Trace) -> tuple[FloatMap, Colour]:
    """A grain of stain, violet to nearly black."""
    depth = float(rng.uniform(0.15, 0.6))
    amount = smooth_step((np.float32(1.1) - trace.rho) / np.float32(0.8))
    return amount, (depth * 0.8, depth, depth * float(rng.uniform(0.0, 0.6)))


def _smear(rng: np.random.Generator, trace: Trace) -> tuple[FloatMap, Colour]:
    """A blurred grey to olive spot, dirt far out of focus."""
    depth = float(rng.uniform(0.05, 0.3))
    amount = smooth_step(np.float32(1.1) - trace.rho)
    return amount, (depth, depth * 0.9, depth * float(rng.uniform(1.0, 1.5)))


def _ring(trace: Trace, radius: float, width: float) -> FloatMap:
    ring: FloatMap = np.exp(-np.square((trace.rho - np.float32(radius)) / np.float32(width)))
    return ring
