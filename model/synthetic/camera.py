"""The microscope and its camera: from the stain of a scene to a photograph."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from model.synthetic.look import Look
from model.synthetic.texture import smooth_noise

GRID = 32
"""Points a side on which the illumination is computed; it is smooth, the rest is interpolated."""

BRIGHTEST = 250.0
"""Most light plasma may give of 255: pale cells must not drown in white."""


def photograph(
    rng: np.random.Generator, density: NDArray[np.float32], look: Look
) -> NDArray[np.uint8]:
    """The RGB image [H, W, 3] of a scene's optical density [3, H, W] under `look`."""
    height, width = density.shape[1:]
    down, right = _fringe(rng, round(look.fringe_px))
    shade = _illumination(rng, (height, width), look.uneven)
    shade *= np.float32(min(1.0, BRIGHTEST / (max(look.glow) * float(shade.max()))))
    grain = rng.standard_normal((height, width), dtype=np.float32) * np.float32(look.noise)
    grains = np.rint(grain).astype(np.int16)
    planes = []
    # Red and blue move apart, as a simple lens does; green, which carries most of the
    # brightness, stays where the boxes are.
    for channel, direction in enumerate((1, 0, -1)):
        light = np.exp(-_moved(density[channel], direction * down, direction * right))
        light *= shade * np.float32(look.glow[channel])
        plane = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
        blurred = np.asarray(_defocus(plane, look.blur_px))
        planes.append(Image.fromarray(np.clip(blurred + grains, 0, 255).astype(np.uint8)))
    image = Image.merge("RGB", planes)
    return _compress(image, look.jpeg_quality) if look.jpeg_quality else np.array(image)


def _illumination(
    rng: np.random.Generator, size: tuple[int, int], uneven: float
) -> NDArray[np.float32]:
    """Relative light [H, W] before the smear: a gradient, a vignette and faint clouds."""
    x = np.linspace(-1, 1, GRID, dtype=np.float32)
    y = x[:, None]
    tilt = rng.normal(0, 0.5 * uneven, 2)
    vignette = rng.uniform(0, 0.5 * uneven)
    shade = 1 + np.float32(tilt[0]) * x + np.float32(tilt[1]) * y
    shade = shade - np.float32(vignette) * (x * x + y * y)
    shade += np.float32(0.008) * smooth_noise(rng, (GRID, GRID), GRID / 5)
    enlarged = Image.fromarray(shade).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.array(enlarged, dtype=np.float32)


def _fringe(rng: np.random.Generator, reach_px: int) -> tuple[int, int]:
    """How far (down, right) the red image is off the green one, in whole pixels."""
    down, right = rng.integers(-reach_px, reach_px + 1, 2)
    return int(down), int(right)


def _moved(plane: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """A plane [H, W] moved by whole pixels; its border fills what comes into view."""
    if not (down or right):
        return plane
    padded = np.pad(plane, ((abs(down),), (abs(right),)), mode="edge")
    rows = slice(abs(down) - down, abs(down) - down + plane.shape[0])
    columns = slice(abs(right) - right, abs(right) - right + plane.shape[1])
    return padded[rows, columns]


def _defocus(plane: Image.Image, deviation_px: float) -> Image.Image:
    """The plane out of focus by a blur of standard deviation `deviation_px`.

    A box, whose edge is as hard as that of a defocused aperture; Pillow's Gaussian of the same
    deviation takes three times as long.
    """
    radius = (deviation_px * 12**0.5 - 1) / 2
    return plane.filter(ImageFilter.BoxBlur(radius)) if radius > 0 else plane


def _compress(image: Image.Image, quality: int) -> NDArray[np.uint8]:
    """The image after a JPEG round trip at `quality`."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return np.array(decoded.convert("RGB"))
