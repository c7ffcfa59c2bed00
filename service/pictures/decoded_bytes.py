"""The bytes that decoding a picture takes at its peak, told by its header alone.

Each is an upper bound of what was measured (tests/service/test_decoded_bytes.py holds them).
"""

from __future__ import annotations

from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    IMAGELENGTH,
    IMAGEWIDTH,
    PLANAR_CONFIGURATION,
    ROWSPERSTRIP,
    SAMPLESPERPIXEL,
    STRIPOFFSETS,
    TILELENGTH,
    TILEWIDTH,
    TiffImageFile,
)

from export.manifest import Manifest
from model.letterbox import letterbox
from model.pictures import STRIP_PIXELS
from service.pictures.avif import avif_bytes
from service.pictures.containers import first_scan_channels, frame_pixels

BASE_BYTES = 2 << 20
"""Tables, texts and what else does not grow with the picture."""

CANVAS_BYTES = 8
"""A pixel of the canvas: 3 bytes, and 4 of the resized picture that is pasted into it."""

FILE_COPIES = 3
"""Of a file that is all metadata: as it is read, as it is kept and as Pillow hands it out."""

STRIP_BYTES = 48
"""Bytes a pixel while a strip is turned and converted; those with transparency take the most."""

WEBP_BYTES = 16
"""Canvas, frame, copy for Python and the picture itself, 4 bytes each, whatever the file holds."""

TIFF_JPEG = (6, 7)

MAX_PLANES = 8
"""Channels of a TIFF that lie apart; Pillow knows no mode that has more."""


def decoded_bytes(
    image: Image.Image, data: bytes, scale: int, manifest: Manifest, shrink: int = 1
) -> int:
    """The most bytes that a picture takes until it is in its canvas at a scale.

    `image` is opened and not loaded; a JPEG whose decoder has been told to shrink it by `shrink`
    has the size that it will have. `data` is the file.
    """
    canvases = manifest.canvases_by_scale[scale]
    # Rows are resized before columns. Which are which is told by EXIF, which may come last.
    narrowed = max(
        letterbox(size, scale, canvases).resized[1] * size[0]
        for size in (image.size, image.size[::-1])
    )
    canvas = max(canvas.height * canvas.width for canvas in canvases)
    return _whole_bytes(image, data, shrink) + 4 * narrowed + CANVAS_BYTES * canvas


def upright_bytes(image: Image.Image, data: bytes) -> int:
    """The most bytes that a whole upright picture takes, with one copy to draw on and save."""
    return _whole_bytes(image, data, shrink=1) + 8 * image.width * image.height


def _whole_bytes(image: Image.Image, data: bytes, shrink: int) -> int:
    strip = min(image.width * image.height, STRIP_PIXELS + max(image.size)) * STRIP_BYTES
    return BASE_BYTES + FILE_COPIES * len(data) + strip + _decoder_bytes(image, data, shrink)


def _decoder_bytes(image: Image.Image, data: bytes, shrink: int) -> int:
    pixels = image.width * image.height
    match image.format:
        case "WEBP":
            return WEBP_BYTES * pixels
        case "AVIF":
            return avif_bytes(data, image.width, image.height, transparent=image.mode == "RGBA")
    own = pixel_bytes(image.mode) * pixels
    if isinstance(image, JpegImageFile):
        return own + _coefficient_bytes(image, data, shrink)
    if isinstance(image, TiffImageFile):
        turned = bool(image.tag_v2.get(ExifTags.Base.Orientation, 1) != 1)
        return (own * 2 if turned else own) + _tiff_part_bytes(image, data)
    if isinstance(image, BmpImageFile) and image.tile and image.tile[0].codec_name == "bmp_rle":
        return own + 3 * pixels  # an array that grows in Python, and its copy
    return own


def pixel_bytes(mode: str) -> int:
    """Bytes that Pillow takes for a pixel of a mode: three channels take four."""
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def _coefficient_bytes(image: JpegImageFile, data: bytes, shrink: int) -> int:
    """What a JPEG's scans are collected in before the picture is made: 2 bytes a coefficient.

    A JPEG whose only scan holds all channels needs no more than a few rows of them.
    """
    channels: list[tuple[int, int]] = [(across, down) for _, across, down, _ in image.layer]
    if not image.info.get("progressive") and first_scan_channels(data) == len(channels):
        return 0
    across = max(1, *(factor for factor, _ in channels))
    down = max(1, *(factor for _, factor in channels))
    width = _round_up(image.width * shrink, 8 * across)
    height = _round_up(image.height * shrink, 8 * down)
    sampled = sum(factor * other for factor, other in channels)
    return 2 * width * height * sampled // (across * down)


def _tiff_part_bytes(image: TiffImageFile, data: bytes) -> int:
    """What a strip or tile of a TIFF takes, which may be larger than the picture."""
    tags = image.tag_v2
    if tags.get(COMPRESSION, 1) == 1:
        return 0
    width, height = int(tags[IMAGEWIDTH]), int(tags[IMAGELENGTH])
    if TILEWIDTH in tags:
        pixels = int(tags[TILEWIDTH]) * int(tags.get(TILELENGTH, 1))
    else:
        pixels = width * min(height, int(tags.get(ROWSPERSTRIP, height)))
    bits = tags.get(BITSPERSAMPLE, (1,))
    samples = -(-int(max(bits)) // 8) * int(tags.get(SAMPLESPERPIXEL, len(bits)))
    coefficients = 0
    if tags.get(COMPRESSION) in TIFF_JPEG:
        coefficients = 2 * max(3, samples) * max([pixels, *_last_strips(image, data)])
    return pixels * max(4, samples) + coefficients


def _last_strips(image: TiffImageFile, data: bytes) -> list[int]:
    """Pixels of the JPEG in each plane's last strip: there libtiff takes one that is taller."""
    tags = image.tag_v2
    begins = tags.get(STRIPOFFSETS, ())
    height = int(tags[IMAGELENGTH])
    strips = -(-height // max(1, int(tags.get(ROWSPERSTRIP, height))))
    planes = int(tags.get(SAMPLESPERPIXEL, 1)) if tags.get(PLANAR_CONFIGURATION) == 2 else 1
    lasts = begins[strips - 1 : strips * min(planes, MAX_PLANES) : strips]
    return [frame_pixels(memoryview(data)[begin:]) for begin in lasts]


def _round_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
