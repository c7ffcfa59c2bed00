"""Platelets: small violet granular blobs with a pale fringe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.synthetic.outline import Outline, Trace, Window, draw_outline, smooth_step
from model.synthetic.patch import Colour, Patch, mixed, tint
from model.synthetic.texture import smooth_noise


@dataclass(frozen=True)
class PlateletStain:
    """How the platelets of one scene look: two densities each one mixes, strength, edge blur."""

    violet: Colour
    slate: Colour
    depth: float
    softness_px: float


def outline_platelet(
    rng: np.random.Generator, centre: tuple[float, float], diameter: float
) -> Outline:
    """The outline of a platelet, round to oval and uneven."""
    return draw_outline(rng, centre, diameter, rng.uniform(1.0, 1.5), 0.06, waves=8)


def paint_platelet(
    rng: np.random.Generator, outline: Outline, window: Window, trace: Trace, stain: PlateletStain
) -> Patch:
    """The stain of a platelet: a dense granular middle that fades towards the outline."""
    radius = outline.mean_radius
    cover = trace.cover(max(1.0, stain.softness_px))
    fade = rng.uniform(0.45, 0.95)
    core = smooth_step((np.float32(rng.uniform(0.8, 1.0)) - trace.rho) / np.float32(fade))
    grain = smooth_noise(rng, window.shape, max(1.5, radius / rng.uniform(1.5, 4.0)))
    grains = np.clip(1 + np.float32(rng.uniform(0.05, 0.45)) * grain, 0.1, 2.0)
    fringe = np.float32(rng.uniform(0.04, 0.14))
    amount = (fringe + core * grains) * cover
    slate = float(rng.beta(0.8, 0.8))
    depth = stain.depth * float(np.exp(rng.normal(0, 0.3)))
    density = tint(amount * np.float32(depth), mixed(stain.violet, stain.slate, slate))
    halo = np.exp(-np.square((trace.depth - 2) / np.float32(3))) * (1 - cover)
    density -= np.float32(rng.uniform(0, 0.02)) * halo
    return Patch(window, density, 0.5 * cover * core, trace.inside)
