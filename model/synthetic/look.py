"""The look of one scene: every random choice that all its cells share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.synthetic.patch import Colour
from model.synthetic.platelet import PlateletStain
from model.synthetic.red_cell import RedStain
from model.synthetic.white_cell import WhiteStain

REFERENCE_SIDE_PX = 480
"""Pixel measures below are for a scene whose shorter side is this; others scale with it."""


FAINTEST = 0.18
"""Least density of any stain in green, so that no annotated cell is invisible."""


@dataclass(frozen=True)
class Look:
    """How one scene looks. Lengths in pixels of the scene itself; counts for 480x640.

    glow: background colour 0..255; uneven: size of the illumination gradient;
    crowding: 0 (spread out) to 1 (clusters); noise: grey levels; jpeg_quality: 0 for none.
    """

    glow: Colour
    uneven: float
    red_diameter: float
    red_count: float
    white_count: int
    platelet_count: int
    debris_count: int
    crowding: float
    red: RedStain
    white: WhiteStain
    platelet: PlateletStain
    blur_px: float
    fringe_px: float
    noise: float
    jpeg_quality: int


def draw_look(rng: np.random.Generator, shorter_side: int) -> Look:
    """A random look: half of all scenes near the BCCD photographs, the rest far wider.

    The near values are medians and spreads measured on the BCCD training images.
    """
    unit = shorter_side / REFERENCE_SIDE_PX
    wide = bool(rng.random() < 0.5)
    spread = 1.0 if wide else 0.25
    contrast = float(np.clip(np.exp(rng.normal(0, 0.3 * spread)), 0.6, 1.8))
    softness = float(rng.uniform(3.0, 11.0)) * unit

    def stained(red: float, green: float, blue: float) -> Colour:
        jitter = np.exp(rng.normal(0, 0.3 * spread, 3)) * contrast
        r, g, b = np.array((red, green, blue)) * jitter + rng.normal(0, 0.03 * spread, 3)
        return float(r), max(float(g), FAINTEST), float(b)

    red = RedStain(
        pink=stained(0.10, 0.245, 0.12),
        brown=stained(0.06, 0.27, 0.32),
        depth=float(rng.uniform(0.6, 1.02)),
        brownness=float(rng.uniform(0.0, 0.9)),
        pallor=float(1.1 * rng.beta(0.8, 0.6)),
        softness_px=max(1.2, softness),
        hides=float(rng.uniform(0.35, 0.85)),
    )
    white = WhiteStain(
        nucleus=stained(0.42, 0.70, -0.10),
        navy=stained(0.60, 0.85, 0.02),
        lilac=stained(0.05, 0.24, 0.0),
        sky=stained(0.16, 0.15, 0.0),
        magenta=stained(0.08, 0.42, 0.10),
        softness_px=max(1.2, softness),
    )
    platelet = PlateletStain(
        violet=stained(0.30, 0.42, -0.08),
        slate=stained(0.27, 0.25, 0.0),
        depth=float(rng.uniform(0.7, 1.3)),
        softness_px=max(1.0, softness),
    )
    white_count = int(rng.choice(4, p=(0.15, 0.6, 0.17, 0.08) if wide else (0.03, 0.87, 0.1, 0)))
    return Look(
        glow=_glow(rng, wide),
        uneven=float(rng.uniform(0.02, 0.3 if wide else 0.08)),
        red_diameter=float(rng.uniform(82, 128) if wide else rng.normal(104, 6)) * unit,
        red_count=float(rng.uniform(4, 30) if wide else rng.uniform(9, 20)),
        white_count=white_count,
        platelet_count=int(min(rng.poisson(1.8 if wide else 1.2), 7)),
        debris_count=int(rng.poisson(25 if rng.random() < 0.25 else 6)),
        crowding=float(rng.uniform(0.1, 0.9)),
        red=red,
        white=white,
        platelet=platelet,
        blur_px=float(max(0.0, rng.normal(0.9, 1.2 if wide else 0.4))) * unit,
        fringe_px=float(rng.uniform(0.0, 2.5)) * unit,
        noise=float(rng.uniform(0.4, 5.0 if wide else 1.2)),
        jpeg_quality=int(rng.integers(40 if wide else 80, 96)) if rng.random() < 0.6 else 0,
    )


def _glow(rng: np.random.Generator, wide: bool) -> Colour:
    """The colour of clear plasma, 0..255."""
    if wide:
        level = rng.uniform(140, 245)
        cast = rng.normal(0, 0.06, 3)
        colour = np.clip(level * (1 + cast - cast.mean()), 90, 252)
    else:
        colour = np.array((201.0, 203.0, 197.0)) + rng.normal(0, 3) + rng.normal(0, 1.2, 3)
    return float(colour[0]), float(colour[1]), float(colour[2])
