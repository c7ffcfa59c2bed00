"""Red cells: translucent salmon discs, thinner in the middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.synthetic.outline import FloatMap, Outline, Trace, Window, draw_outline, smooth_step
from model.synthetic.patch import Colour, Patch, mixed, tint
from model.synthetic.texture import smooth_noise

HALO: Colour = (0.05, 0.05, 0.025)
"""Light gained just outside the brightest edges: a faint yellowish line."""


@dataclass(frozen=True)
class RedStain:
    """How the red cells of one scene look.

    pink, brown: the two densities each cell mixes; brownness: mean share of brown, 0..1;
    depth: stain of the mean cell;
    pallor: mean paleness of the centre, 0 (flat) to 1 (a ring); softness_px: edge blur;
    hides: fraction of the stain below that vanishes, as overlaps darken less than they add up.
    """

    pink: Colour
    brown: Colour
    depth: float
    brownness: float
    pallor: float
    softness_px: float
    hides: float


def outline_red_cell(
    rng: np.random.Generator, centre: tuple[float, float], diameter: float
) -> Outline:
    """The outline of a red cell, mostly a slightly oval disc, sometimes bent or drawn out."""
    odd = rng.random() < 0.2
    elongation = rng.uniform(1.3, 1.9) if odd else 1 + abs(rng.normal(0, 0.2))
    roughness = 0.06 if odd else 0.03
    return draw_outline(rng, centre, diameter, min(elongation, 2.0), roughness, waves=5)


def paint_red_cell(
    rng: np.random.Generator, outline: Outline, window: Window, trace: Trace, stain: RedStain
) -> Patch:
    """The stain of a red cell: pale centre, dark rim and a faint bright line around it."""
    radius = outline.mean_radius
    cover = trace.cover(stain.softness_px * rng.uniform(0.7, 1.6))
    thickness = _thickness(rng, trace, radius, stain)
    thickness *= 1 + 0.05 * smooth_noise(rng, window.shape, max(2.0, radius / 6))
    amount = thickness * cover
    halo_px = max(1.0, radius * rng.uniform(0.03, 0.07))
    beyond = trace.depth / np.float32(halo_px) - np.float32(1.2)
    halo = np.exp(-np.square(beyond)) * (1 - cover)
    brownness = float(np.clip(rng.normal(stain.brownness, 0.12), 0, 1))
    # The edge stays pink in brown cells: the camera's lens colours it so.
    edge = smooth_step((trace.rho - np.float32(0.72)) / np.float32(0.28))
    density = tint(amount * (1 - edge), mixed(stain.pink, stain.brown, brownness))
    density += tint(amount * edge, mixed(stain.pink, stain.brown, 0.3 * brownness))
    density -= tint(halo * np.float32(rng.uniform(0, 1)), HALO)
    return Patch(window, density, np.float32(stain.hides) * cover, trace.inside)


def _thickness(rng: np.random.Generator, trace: Trace, radius: float, stain: RedStain) -> FloatMap:
    """Relative thickness [h, w] of a biconcave disc, about 1 where it is thickest.

    Slightly below 0 in the palest centres, which shine brighter than plasma in photographs.
    """
    pallor = float(np.clip(rng.normal(stain.pallor, 0.18), 0.0, 1.1))
    wide = rng.uniform(0.3, 0.65) + 0.17 * pallor
    steep = rng.uniform(2.0, 7.0)
    shift = rng.normal(0, 0.12, 2)
    across = trace.dx / np.float32(radius)
    down = trace.dy / np.float32(radius)
    squared = np.square(across - np.float32(shift[0]))[None, :]
    squared = squared + np.square(down - np.float32(shift[1]))[:, None]
    # Half the squared distance from the shifted centre, half the outline's own shape.
    bowl = (0.5 * squared + 0.5 * np.square(trace.rho)) / np.float32(wide**2)
    thickness = 1 - np.float32(pallor) * np.exp(-np.power(bowl, np.float32(steep / 2)))
    if rng.random() < 0.12:
        target = rng.uniform(0.2, 0.6) * pallor
        thickness += np.float32(target) * np.exp(-squared / np.float32((wide * 0.35) ** 2))
    rim = rng.uniform(0.0, 0.25)
    thickness += np.float32(rim) * np.exp(-np.square((trace.rho - 0.93) / np.float32(0.06)))
    lean = rng.normal(0, 0.12, 2)
    slope = np.float32(lean[0]) * across[None, :] + np.float32(lean[1]) * down[:, None]
    depth = stain.depth * float(np.exp(rng.normal(0, 0.16)))
    leaning: FloatMap = np.maximum(thickness * (1 + slope), np.float32(-0.12))
    return leaning * np.float32(depth)
