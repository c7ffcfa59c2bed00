"""Picture files as upright RGB, the same for training and serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from model.errors import InputError

PICTURE_SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as a picture in a folder; a file that is named outright is always tried."""

STRIP_PIXELS = 1 << 18
"""Pixels that are turned and converted at once: what a conversion needs beside its picture is a
few times these, not a few times the picture."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture of each EXIF orientation is stood up. From 5 its rows are columns of the file, and
for 3, 4, 7 and 8 the first row is the last of the file."""


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or one that does not exist."""
    found = image.getexif().get(ExifTags.Base.Orientation)
    return int(found) if found in TURNS else 1


def upright_rgb(image: Image.Image) -> Image.Image:
    """The picture as a person sees it: turned by its EXIF orientation, three 8-bit channels.

    Transparent pixels show white, 16-bit greys are scaled to 8 bits, animations give their first
    frame. A picture that is all this already is returned itself. Raises OSError or ValueError
    (Pillow's own) for a file that does not decode.
    """
    image.load()
    orientation = orientation_of(image)
    if image.mode == "RGB" and orientation == 1:
        return image
    upright = Image.new("RGB", image.size if orientation < 5 else image.size[::-1])
    for first_row, strip in upright_strips(image, orientation):
        upright.paste(strip, (0, first_row))
    return upright


def upright_strips(image: Image.Image, orientation: int) -> Iterator[tuple[int, Image.Image]]:
    """The rows of the upright RGB picture, some at a time, each with the number of its first row.

    `image` is loaded; to convert a picture of 50 megapixels as a whole would take 20 bytes a pixel
    where it has transparency and 26 where it is a 16-bit grey.
    """
    sideways, backwards = orientation >= 5, orientation in (3, 4, 7, 8)
    height, width = image.size if sideways else image.size[::-1]
    white = _white(image)
    rows = max(1, STRIP_PIXELS // width)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        begin, end = (height - last, height - first) if backwards else (first, last)
        box = (begin, 0, end, image.height) if sideways else (0, begin, image.width, end)
        strip = image.crop(box)
        if orientation in TURNS:
            strip = strip.transpose(TURNS[orientation])
        yield first, _rgb(strip, white)


def read_picture(path: Path) -> Image.Image:
    """The picture file as upright RGB; InputError names a file that is missing or broken."""
    try:
        with Image.open(path) as image:
            return upright_rgb(image)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a picture that can be decoded ({error})") from None


def _rgb(strip: Image.Image, white: float) -> Image.Image:
    """Three 8-bit channels; `white` is what `_white` says of the whole picture."""
    if strip.mode == "RGB":
        return strip
    if _is_deep(strip):
        grey = np.clip(_values(strip) * (255.0 / white), 0, 255).astype(np.uint8)
        strip = Image.fromarray(grey)
    if strip.has_transparency_data:
        rgba = strip.convert("RGBA")
        background = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(background, rgba).convert("RGB")
    return strip.convert("RGB")


def _white(image: Image.Image) -> float:
    """The value that stands for white in a grey picture of more than 8 bits; else 255."""
    if not _is_deep(image):
        return 255.0
    rows = max(1, STRIP_PIXELS // image.width)
    bands = (
        image.crop((0, top, image.width, min(top + rows, image.height)))
        for top in range(0, image.height, rows)
    )
    return 65535.0 if any((_values(band) > 255.0).any() for band in bands) else 255.0


def _is_deep(image: Image.Image) -> bool:
    """Whether the picture is grey with 16-bit, 32-bit or floating-point values."""
    return image.mode.startswith("I") or image.mode == "F"


def _values(image: Image.Image) -> NDArray[np.float64]:
    """The greys as numbers; what is no number counts as black."""
    return np.nan_to_num(np.asarray(image).astype(np.float64))
