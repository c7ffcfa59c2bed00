"""White cells: a dark violet nucleus, lobed or round, in paler cytoplasm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.synthetic.outline import FloatMap, Outline, Trace, Window, draw_outline, smooth_step
from model.synthetic.patch import Colour, Patch, mixed, tint
from model.synthetic.texture import smooth_noise

Kind = Literal["neutrophil", "eosinophil", "monocyte", "lymphocyte", "smudge"]
KINDS: tuple[Kind, ...] = ("neutrophil", "eosinophil", "monocyte", "lymphocyte", "smudge")
KIND_SHARES = (0.5, 0.12, 0.12, 0.2, 0.06)

RELATIVE_DIAMETERS: dict[Kind, tuple[float, float]] = {
    "neutrophil": (1.65, 2.4),
    "eosinophil": (1.7, 2.4),
    "monocyte": (1.7, 2.5),
    "lymphocyte": (1.1, 1.55),
    "smudge": (1.2, 2.2),
}
"""White cell diameter over the scene's mean red cell diameter."""


@dataclass(frozen=True)
class WhiteStain:
    """How the white cells of one scene look: densities of their parts, edge blur.

    nucleus, navy: the two that a nucleus mixes; lilac, sky, magenta: of the cytoplasm.
    """

    nucleus: Colour
    navy: Colour
    lilac: Colour
    sky: Colour
    magenta: Colour
    softness_px: float


def outline_white_cell(
    rng: np.random.Generator, centre: tuple[float, float], diameter: float, kind: Kind
) -> Outline:
    """The outline of a white cell of `kind`; smudges are the most ragged."""
    roughness = {"lymphocyte": 0.035, "smudge": 0.14}.get(kind, 0.03)
    elongation = 1 + abs(rng.normal(0, 0.3 if kind == "smudge" else 0.1))
    return draw_outline(rng, centre, diameter, min(elongation, 1.8), roughness, waves=14)


def paint_white_cell(
    rng: np.random.Generator,
    outline: Outline,
    window: Window,
    trace: Trace,
    stain: WhiteStain,
    kind: Kind,
) -> Patch:
    """The stain of a white cell: granular cytoplasm with the nucleus of its kind."""
    radius = outline.mean_radius
    cover = trace.cover(stain.softness_px * rng.uniform(0.8, 2.0))
    nucleus = _nucleus(rng, trace, window, radius, kind) * cover
    fine = smooth_noise(rng, window.shape, max(1.5, radius / rng.uniform(18, 32)))
    coarse = smooth_noise(rng, window.shape, max(3.0, radius / 3))
    density = _cytoplasm(rng, stain, kind, fine, coarse)
    density *= cover * (1 - 0.85 * nucleus)
    chromatin = smooth_noise(rng, window.shape, max(2.0, radius / rng.uniform(6, 12)))
    strength = rng.uniform(0.65, 1.05)
    patchy = np.float32(0.06 if kind in ("lymphocyte", "smudge") else rng.uniform(0.08, 0.22))
    amount = np.clip(1 + patchy * (chromatin + coarse), 0.3, 1.8) * np.float32(strength)
    dark = float(rng.uniform(0.4, 1.0) if kind == "lymphocyte" else rng.uniform(0.0, 0.6))
    density += tint(nucleus * amount, mixed(stain.nucleus, stain.navy, dark))
    return Patch(window, density, 0.9 * cover, trace.inside)


def _cytoplasm(
    rng: np.random.Generator, stain: WhiteStain, kind: Kind, fine: FloatMap, coarse: FloatMap
) -> FloatMap:
    """Density [3, h, w] of the cytoplasm, before it is cut to the cell."""
    if kind == "eosinophil":
        granules = smooth_step(fine * np.float32(rng.uniform(0.3, 0.8)) + np.float32(0.5))
        density = tint(granules + np.float32(rng.uniform(0.3, 0.9)), stain.magenta)
        return density * np.float32(rng.uniform(0.5, 0.75))
    if kind == "lymphocyte":
        share = rng.uniform(0.0, 0.3)
    elif kind == "monocyte":
        share = rng.uniform(0.2, 0.7)
    elif kind == "smudge":
        share = rng.uniform(0.4, 0.9)
    else:
        share = rng.uniform(0.75, 1.0)
    amount = 1 + np.float32(rng.uniform(0.1, 0.3)) * fine + np.float32(0.15) * coarse
    amount = np.clip(amount, 0.1, 2) * np.float32(rng.uniform(0.55, 1.2))
    return tint(amount, mixed(stain.sky, stain.lilac, share))


def _nucleus(
    rng: np.random.Generator, trace: Trace, window: Window, radius: float, kind: Kind
) -> FloatMap:
    """Coverage [h, w] of the nucleus: lobes on an arc inside the cell, fused where they meet."""
    if kind == "lymphocyte":
        share = rng.uniform(0.9, 1.02)
        bumps = smooth_noise(rng, window.shape, radius / 2)
        soft = np.float32(rng.uniform(0.04, 0.12))
        within: FloatMap = np.float32(share) - trace.rho + np.float32(0.03) * bumps
        return smooth_step(within / soft + np.float32(0.5))
    lobes, arc, orbit, lobe = _lobes(rng, kind)
    turns = rng.uniform(0, 2 * np.pi) + np.linspace(0, arc, lobes)
    turns = turns + rng.normal(0, 0.12, lobes)
    across = trace.dx / np.float32(radius)
    down = trace.dy / np.float32(radius)
    shift = rng.normal(0, 0.08, 2)
    fused = np.zeros(window.shape, dtype=np.float32)
    blend = np.float32(rng.uniform(12, 26))
    for turn in turns:
        reach = orbit * rng.uniform(0.8, 1.15)
        size = lobe * rng.uniform(0.8, 1.2)
        x = np.float32(reach * np.cos(turn) + shift[0])
        y = np.float32(reach * np.sin(turn) + shift[1])
        # The lobe is stretched along the arc, as the segments of a neutrophil are.
        tilt, stretch = turn + np.pi / 2 + rng.normal(0, 0.4), rng.uniform(1.0, 1.45)
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        along = (across - x)[None, :] * cos + (down - y)[:, None] * sin
        aside = (down - y)[:, None] * cos - (across - x)[None, :] * sin
        away = np.sqrt(np.square(along / np.float32(stretch)) + np.square(aside))
        fused += np.exp(np.clip(-blend * (away - np.float32(size)), -30, 30))
    bumps = smooth_noise(rng, window.shape, max(2.0, radius / 5))
    distance = np.log(np.maximum(fused, np.float32(1e-12))) / blend
    distance = np.minimum(distance, np.float32(0.95) - trace.rho) + np.float32(0.03) * bumps
    soft = np.float32(max(1.5 / radius, rng.uniform(0.04, 0.1)))
    return smooth_step(distance / soft + np.float32(0.5))


def _lobes(rng: np.random.Generator, kind: Kind) -> tuple[int, float, float, float]:
    """Lobe count, the arc they span in radians, and orbit and lobe radius over cell radius."""
    if kind == "neutrophil":
        count = int(rng.integers(3, 6))
        return count, rng.uniform(3.2, 5.2), rng.uniform(0.37, 0.5), rng.uniform(0.24, 0.35)
    if kind == "eosinophil":
        count = int(rng.integers(2, 4))
        return count, rng.uniform(2.0, 3.4), rng.uniform(0.36, 0.48), rng.uniform(0.3, 0.42)
    if kind == "monocyte":
        return 6, rng.uniform(2.2, 4.2), rng.uniform(0.3, 0.45), rng.uniform(0.26, 0.38)
    return 5, rng.uniform(3.0, 6.0), rng.uniform(0.2, 0.4), rng.uniform(0.35, 0.55)
