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
from PIL import AvifImagePlugin, Image, features

from export.manifest import Manifest
from model.letterbox import Letterbox, fill_canvas, letterbox
from model.pictures import orientation_of, upright_rgb, upright_strips
from service.errors import TooLarge, Undecodable, UnsupportedType
from service.pictures.avif import still_picture
from service.pictures.containers import check_container
from service.pictures.refusals import broken

logger = logging.getLogger(__name__)

ACCEPTED = "JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF"

DEFAULT_MAX_PIXELS = 50_000_000
"""Pixels a picture may have: 200 MB as Pillow holds RGB."""

JPEG_SHRINKS = (8, 4, 2)
"""By what the JPEG decoder can shrink a picture while it decodes, at the cost of a smaller one."""

DETAIL_KEPT = 3
"""How many times its place in the canvas a picture still is after the JPEG decoder shrank it: with
that, boxes move no more than by rounding the canvas's values otherwise (docs/images.md)."""


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
    check_container(kind, data)
    if kind == "AVIF":
        # Each of its threads takes 270 KB, and there would be one for every core.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        data = still_picture(data)
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
        return decode_upright(image)


def decode_upright(image: Image.Image) -> Image.Image:
    """What `read_upright` gives of a picture whose header has been read. Raises Undecodable."""
    try:
        return upright_rgb(image)
    except Exception as error:
        # Broken files raise far more than OSError: struct.error, KeyError, ZeroDivisionError,
        # EOFError, TypeError... and each of them means the same to the caller.
        raise undecodable(image, error) from None


def prepare_image(
    data: bytes, scale: int, manifest: Manifest, max_pixels: int = DEFAULT_MAX_PIXELS
) -> PreparedImage:
    """The picture in the canvas that it gets at one of the manifest's scales.

    Raises UnsupportedType, TooLarge and Undecodable.
    """
    with open_header(data, max_pixels) as image:
        size = image.size
        shrink_in_decoder(image, scale)
        return decode_into_canvas(image, size, scale, manifest)


def prepare_array(image: NDArray[np.uint8], scale: int, manifest: Manifest) -> PreparedImage:
    """An image that is decoded already, uint8 RGB [H, W, 3], in its canvas."""
    upright = Image.fromarray(image)
    return _into_canvas(upright, upright.size, scale, manifest)


def decode_into_canvas(
    image: Image.Image, size: tuple[int, int], scale: int, manifest: Manifest
) -> PreparedImage:
    """A picture whose header has been read in the canvas that it gets. Raises Undecodable.

    `size` is its stored (width, height), which may have been shrunk in the decoder since.
    """
    try:
        return _into_canvas(image, size, scale, manifest)
    except Exception as error:
        raise undecodable(image, error) from None


def shrink_in_decoder(image: Image.Image, scale: int) -> int:
    """Has the JPEG decoder shrink the picture where it is far larger than the scale; by what.

    Only by what divides both sides: the last column would stand for less than the others.
    """
    if image.format not in ("JPEG", "MPO"):
        return 1
    width, height = image.size
    for shrink in JPEG_SHRINKS:
        divides = width % shrink == 0 and height % shrink == 0
        if divides and min(width, height) >= shrink * scale * DETAIL_KEPT:
            image.draft(None, (width // shrink, height // shrink))
            return shrink
    return 1


def _into_canvas(
    image: Image.Image, size: tuple[int, int], scale: int, manifest: Manifest
) -> PreparedImage:
    width, height = size
    image.load()
    orientation = orientation_of(image)
    if orientation >= 5:
        width, height = height, width
    place = letterbox((height, width), scale, manifest.canvases_by_scale[scale])
    canvas = np.zeros((*place.canvas, 3), np.uint8)
    if image.mode != "RGB" or orientation > 1:
        image = _narrowed(image, orientation, place.resized[1])
    fill_canvas(image, place, canvas)
    return PreparedImage(canvas, place)


def _narrowed(image: Image.Image, orientation: int, width: int) -> Image.Image:
    """The upright RGB picture, of this width and its own height.

    Pillow resizes rows first and columns after, so that to resize the columns of this gives what
    resizing the upright picture gives, to the bit, without ever holding that.
    """
    height = image.height if orientation < 5 else image.width
    narrow = Image.new("RGB", (width, height))
    for first_row, strip in upright_strips(image, orientation):
        narrow.paste(strip.resize((width, strip.height), Image.Resampling.BILINEAR), (0, first_row))
    return narrow


def _too_many(found: str, max_pixels: int) -> str:
    return f"the picture has {found} pixels; accepted are up to {max_pixels:,}"


def undecodable(image: Image.Image, error: Exception) -> Undecodable:
    """What the caller is told of an error that Pillow raised; the log has the error at debug."""
    return _undecodable(image.format or "picture", error)


def _undecodable(kind: str, error: Exception) -> Undecodable:
    logger.debug("%s does not decode: %s: %s", kind, type(error).__name__, error)
    return broken(kind)
