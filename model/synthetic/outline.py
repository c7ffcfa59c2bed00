"""The closed outline of one drawn cell, and the part of it an image can show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatMap = NDArray[np.float32]
BoolMap = NDArray[np.bool_]

ANGLES = 1024
"""Radii kept per outline; the arc between two is under 1 px for cells up to 320 px across."""

MARGIN_PX = 4.0
MARGIN_SHARE = 0.12
"""Drawn around the outline for its soft edge and halo: pixels, and a share of the radius."""

_THETA: NDArray[np.float64] = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
_COS: NDArray[np.float64] = np.cos(_THETA)
_SIN: NDArray[np.float64] = np.sin(_THETA)


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels, right and bottom excluded, inside an image."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.right <= self.left or self.bottom <= self.top

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns that select the window from an [H, W] array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class Outline:
    """A star-shaped closed curve: one radius in pixels for each of `ANGLES` directions."""

    x: float
    y: float
    radii: NDArray[np.float64]

    @cached_property
    def mean_radius(self) -> float:
        """Pixels."""
        return float(self.radii.mean())

    @property
    def area(self) -> float:
        """Pixels squared, cut by no border."""
        return float(np.square(self.radii).sum() * np.pi / ANGLES)

    def window(self, size: tuple[int, int]) -> Window:
        """The pixels of an image of `size` (height, width) that the cell can touch."""
        height, width = size
        margin = MARGIN_PX + MARGIN_SHARE * self.mean_radius
        reach_x = self.x + self.radii * _COS
        reach_y = self.y + self.radii * _SIN
        return Window(
            left=max(0, int(np.floor(reach_x.min() - margin))),
            top=max(0, int(np.floor(reach_y.min() - margin))),
            right=min(width, int(np.ceil(reach_x.max() + margin))),
            bottom=min(height, int(np.ceil(reach_y.max() + margin))),
        )

    def trace(self, window: Window) -> Trace:
        """Where every pixel centre of `window` lies relative to the outline."""
        dx = np.arange(window.left, window.right, dtype=np.float32) + np.float32(0.5 - self.x)
        dy = np.arange(window.top, window.bottom, dtype=np.float32) + np.float32(0.5 - self.y)
        distance = np.sqrt(np.square(dx)[None, :] + np.square(dy)[:, None])
        turn = np.arctan2(dy[:, None], dx[None, :]) * np.float32(ANGLES / (2 * np.pi))
        radius = self.radii.astype(np.float32)[np.rint(turn).astype(np.int32) % ANGLES]
        return Trace(dx, dy, distance / radius, distance - radius)


@dataclass(frozen=True)
class Trace:
    """An outline seen from the pixels of one window.

    Shapes: dx [w], dy [h] pixels from the centre; rho [h, w], 0 at the centre and 1 on the
    outline; depth [h, w], pixels beyond the outline along the ray, negative inside.
    """

    dx: FloatMap
    dy: FloatMap
    rho: FloatMap
    depth: FloatMap

    @property
    def inside(self) -> BoolMap:
        """The mask that boxes are measured on: pixels whose centre the outline encloses."""
        return self.depth < 0

    def cover(self, softness_px: float) -> FloatMap:
        """Coverage 0..1, a smooth step `softness_px` wide that is 0.5 on the outline."""
        return smooth_step(-self.depth / np.float32(softness_px) + np.float32(0.5))


def smooth_step(ramp: FloatMap) -> FloatMap:
    """0 below 0, 1 above 1, and a cubic without corners between; 0.5 stays 0.5."""
    clipped = np.clip(ramp, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def draw_outline(
    rng: np.random.Generator,
    centre: tuple[float, float],
    diameter: float,
    elongation: float = 1.0,
    roughness: float = 0.02,
    waves: int = 7,
) -> Outline:
    """An ellipse of mean `diameter` pixels around `centre` (x, y), made irregular.

    elongation: long axis over short axis; the orientation is random.
    roughness: size of the slowest ripple as a fraction of the radius; ripple n is (2/n)^1.3 of it.
    waves: the highest ripple.
    """
    stretch = float(np.sqrt(elongation))
    turned = _THETA - rng.uniform(0, np.pi)
    ellipse = 1 / np.hypot(np.cos(turned) / stretch, np.sin(turned) * stretch)
    orders = np.arange(2, waves + 1)
    phases = rng.uniform(0, 2 * np.pi, orders.size)
    sizes = rng.normal(0, roughness, orders.size) * (2 / orders) ** 1.3
    # cos(n * theta + phase), with every multiple of theta looked up.
    multiples = orders[:, None] * np.arange(ANGLES) % ANGLES
    ripple = (sizes * np.cos(phases)) @ _COS[multiples]
    ripple -= (sizes * np.sin(phases)) @ _SIN[multiples]
    radii = diameter / 2 * ellipse * np.clip(1 + ripple, 0.4, 1.6)
    return Outline(float(centre[0]), float(centre[1]), radii)
