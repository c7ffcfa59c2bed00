"""Picture files as upright RGB, the same for training and serving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from model.errors import InputError

PICTURE_SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as a picture in a folder; a file that is named outright is always tried."""


def upright_rgb(image: Image.Image) -> Image.Image:
    """The picture as a person sees it: turned by its EXIF orientation, three 8-bit channels.

    Transparent pixels show white, 16-bit greys are scaled to 8 bits, animations give their first
    frame. Raises OSError or ValueError (Pillow's own) for a file that does not decode.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        top = 65535.0 if values.max(initial=0.0) > 255.0 else 255.0
        image = Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def read_picture(path: Path) -> Image.Image:
    """The picture file as upright RGB; InputError names a file that is missing or broken."""
    try:
        with Image.open(path) as image:
            return upright_rgb(image)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a picture that can be decoded ({error})") from None
