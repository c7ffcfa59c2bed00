"""From the bytes of a picture to a filled canvas, safely.

The type is told by content, the size is read from the header before anything is decoded, and
whatever is wrong with a file ends in a `Problem` of the caller's.
"""

from __future__ import annotations

import io
import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from export.manifest import Manifest
from model.letterbox import Letterbox, fill_canvas, letterbox
from model.pictures import upright_rgb
from service.errors import TooLarge, Undecodable, UnsupportedType

logger = logging.getLogger(__name__)

ACCEPTED = "JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF"

DEFAULT_MAX_PIXELS = 50_000_000
"""Pixels a picture may have: 150 MB as RGB."""


class PreparedImage(NamedTuple):
    """An image in its canvas: `canvas` uint8 [H, W, 3], zeros outside the image."""

    canvas: NDArray[np.uint8]
    place: Letterbox


def type_of(data: bytes) -> str | None:
    """Pillow's name of the picture type that the first bytes announce; None if not ours."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM":
        return "BMP"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis") and features.check("avif"):
        return "AVIF"
    return None


def open_header(data: bytes, max_pixels: int) -> Image.Image:
    """The picture with its header read and nothing decoded.

    Raises UnsupportedType, TooLarge for more than `max_pixels`, and Undecodable.
    """
    kind = type_of(data)
    if kind is None:
        raise UnsupportedType(f"the content is no picture type taken here: send {ACCEPTED}")
    try:
        image = Image.open(io.BytesIO(data), formats=[kind])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Pillow's own limits lie above the default cap, which the size below is held against.
        raise TooLarge(_too_many("more", max_pixels)) from None
    except Exception as error:
        raise _undecodable(kind, error) from None
    width, height = image.size
    if width * height > max_pixels:
        raise TooLarge(_too_many(f"{width}x{height}", max_pixels))
    return image


def read_upright(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """The first frame as a person sees it: EXIF turned, three 8-bit channels.

    Raises UnsupportedType, TooLarge and Undecodable.
    """
    with open_header(data, max_pixels) as image:
        try:
            return upright_rgb(image)
        except Exception as error:
            # Broken files raise far more than OSError: struct.error, KeyError, ZeroDivisionError,
            # EOFError, TypeError... and each of them means the same to the caller.
            raise _undecodable(image.format or "picture", error) from None


def prepare_image(
    data: bytes, scale: int, manifest: Manifest, max_pixels: int = DEFAULT_MAX_PIXELS
) -> PreparedImage:
    """The picture in the canvas that it gets at one of the manifest's scales.

    Raises UnsupportedType, TooLarge and Undecodable.
    """
    image = read_upright(data, max_pixels)
    place = letterbox((image.height, image.width), scale, manifest.canvases_by_scale[scale])
    canvas = np.zeros((*place.canvas, 3), np.uint8)
    fill_canvas(image, place, canvas)
    return PreparedImage(canvas, place)


def _too_many(found: str, max_pixels: int) -> str:
    return f"the picture has {found} pixels; accepted are up to {max_pixels:,}"


def _undecodable(kind: str, error: Exception) -> Undecodable:
    logger.debug("%s does not decode: %s: %s", kind, type(error).__name__, error)
    return Undecodable(f"the {kind} does not decode: it is broken or cut short")
