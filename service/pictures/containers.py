"""What a picture file is made of, looked at before its decoder runs.

A decoder's time and memory follow the pixels, which the header tells, except where the container
lets a file ask for work without pixels: a million empty chunks, a hundred thousand scans of the
same blocks, a tile of gigabytes in a thumbnail. Each of these is bounded here; a file within the
bounds, broken or not, is its decoder's affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from struct import calcsize, unpack_from
from struct import error as StructError

from service.pictures.avif import check_avif
from service.pictures.refusals import too_much

MAX_PARTS = 20_000
"""Segments, chunks or blocks of a file. A PNG of 20 MB in pieces of 8 KB, which is what encoders
write, has 2,500; a million cost Pillow 6 s and 180 MB."""

MAX_COMPRESSED_TEXTS = 16
"""Compressed texts and profiles of a PNG; Pillow inflates each to as much as 1 MiB."""

MAX_SCANS = 50
"""Scans of a JPEG. Encoders write 10; each costs 34 ms for 50 megapixels and a channel."""

MAX_EXIF_SEGMENTS = 16
"""EXIF segments of a JPEG, which Pillow joins: 300 cost it 2.6 s."""

MAX_JUNK_BYTES = 64 * 1024
"""Bytes between the segments of a JPEG, which Pillow skips one by one."""

MAX_EXIF_BYTES = 1 << 20
"""Bytes of EXIF in a PNG or WebP; a JPEG's 16 segments hold as many."""

MAX_TAGS = 1024
"""Tags of a TIFF's first directory."""

MAX_TAG_VALUES = 65_536
"""Numbers in those, of which Pillow makes objects: 170 bytes for a fraction. A picture of 50
megapixels in strips of one row has 14,000; two million cost 339 MB."""

MAX_RUN_LENGTH_BYTES = 1024 * 1024
"""A run-length coded BMP is decoded in Python: .5 s a megabyte."""


def check_container(kind: str, data: bytes) -> None:
    """Raises Undecodable for a file of this type that asks for more than a picture needs."""
    check = _CHECKS.get(kind)
    if check is None:
        return
    try:
        check(data)
    except (IndexError, StructError):
        return  # it ends in the middle of something, which its decoder finds as well


def first_scan_channels(data: bytes) -> int:
    """How many of a JPEG's channels its first scan holds: all of them, in a JPEG of one scan."""
    for marker, at in _jpeg_segments(data):
        if marker == _START_OF_SCAN:
            return data[at + 2]
    return 0


def frame_pixels(data: bytes | memoryview) -> int:
    """The pixels of the largest frame that a JPEG announces before its first scan."""
    largest = 0
    try:
        for marker, at in _jpeg_segments(data):
            if marker == _START_OF_SCAN:
                break
            if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
                height, width = unpack_from(">HH", data, at + 3)
                largest = max(largest, height * width)
    except (IndexError, StructError):
        pass  # its decoder meets that end as well
    return largest


def _check_jpeg(data: bytes) -> None:
    scans = exif_segments = 0
    for marker, at in _jpeg_segments(data):
        if marker == _START_OF_SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise too_much("JPEG", "scans", MAX_SCANS)
        elif marker == _APP1 and data[at + 2 : at + 8] == b"Exif\0\0":
            exif_segments += 1
            if exif_segments > MAX_EXIF_SEGMENTS:
                raise too_much("JPEG", "EXIF segments", MAX_EXIF_SEGMENTS)


def _jpeg_segments(data: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Each segment's marker and where its length stands, to the end of the first picture.

    What lies between segments is a scan's data or, before any scan, junk.
    """
    at = junk = 0
    scanning = False
    for _ in range(MAX_PARTS):
        found = _next_marker(data, at)
        if not scanning:
            junk += (found.start() if found else len(data)) - at
            if junk > MAX_JUNK_BYTES:
                raise too_much("JPEG", "bytes outside its segments", MAX_JUNK_BYTES)
        if found is None or data[found.end() - 1] == _END_OF_IMAGE:
            return
        at = found.end()
        marker = data[at - 1]
        if marker not in _BARE_MARKERS:
            yield marker, at
            scanning = scanning or marker == _START_OF_SCAN
            at += max(2, *unpack_from(">H", data, at))
    raise too_much("JPEG", "segments", MAX_PARTS)


_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker that is neither stuffing (FF 00), a restart (FF D0 to D7) nor padding (FF FF)."""

SEARCHED_BYTES = 1 << 20
"""Bytes searched at once: between two searches other threads run. 1 MiB of padding takes 20 ms."""


def _next_marker(data: bytes | memoryview, at: int) -> re.Match[bytes] | None:
    for begin in range(at, len(data), SEARCHED_BYTES):
        if found := _MARKER.search(data, begin, begin + SEARCHED_BYTES + 1):
            return found
    return None


_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
"""Markers among those of frames that are none: two kinds of tables, and one that is reserved."""

_BARE_MARKERS = (0x01, 0xD8)
"""Markers that no length follows: TEM and the start of the image."""


def _check_png(data: bytes) -> None:
    at, texts = 8, 0
    for _ in range(MAX_PARTS):
        size, name = unpack_from(">I4s", data, at)
        if name == b"IEND":
            return
        if name in (b"zTXt", b"iTXt", b"iCCP"):
            texts += 1
            if texts > MAX_COMPRESSED_TEXTS:
                raise too_much("PNG", "compressed texts", MAX_COMPRESSED_TEXTS)
        elif name == b"eXIf" and size > MAX_EXIF_BYTES:
            raise too_much("PNG", "bytes of EXIF", MAX_EXIF_BYTES)
        at += 12 + size
    raise too_much("PNG", "chunks", MAX_PARTS)


def _check_webp(data: bytes) -> None:
    at = 12
    for _ in range(MAX_PARTS):
        name, size = unpack_from("<4sI", data, at)
        if name == b"EXIF" and size > MAX_EXIF_BYTES:
            raise too_much("WEBP", "bytes of EXIF", MAX_EXIF_BYTES)
        at += 8 + size + size % 2
    raise too_much("WEBP", "chunks", MAX_PARTS)


def _check_gif(data: bytes) -> None:
    """Walks the blocks that come before the first frame."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    parts = 0
    while data[at] != ord(","):
        if data[at] != ord("!"):
            at += 1  # Pillow skips what it does not know byte by byte, so this counts as a part
            parts += 1
        else:
            at += 2
            while size := data[at]:
                at += 1 + size
                parts += 1
            at += 1
            parts += 1
        if parts > MAX_PARTS:
            raise too_much("GIF", "blocks before its first frame", MAX_PARTS)


def _check_bmp(data: bytes) -> None:
    header_bytes, compression = *unpack_from("<I", data, 14), *unpack_from("<I", data, 30)
    if header_bytes >= 40 and compression in (1, 2) and len(data) > MAX_RUN_LENGTH_BYTES:
        raise too_much("BMP", "bytes, run-length coded", MAX_RUN_LENGTH_BYTES)


def _check_tiff(data: bytes) -> None:
    order = "<" if data[:2] == b"II" else ">"
    if 43 in data[2:4]:
        begin, count, entry = "Q", "Q", "HHQ8x"
        (at,) = unpack_from(order + begin, data, 8)
    else:
        begin, count, entry = "I", "H", "HHI4x"
        (at,) = unpack_from(order + begin, data, 4)
    (tags,) = unpack_from(order + count, data, at)
    if tags > MAX_TAGS:
        raise too_much("TIFF", "tags", MAX_TAGS)
    at += calcsize(order + count)
    values = 0
    for _ in range(tags):
        _, kind, length = unpack_from(order + entry, data, at)
        values += 0 if kind in _TIFF_BYTES else length
        if values > MAX_TAG_VALUES:
            raise too_much("TIFF", "numbers in its tags", MAX_TAG_VALUES)
        at += calcsize(order + entry)


_TIFF_BYTES = (1, 2, 7)
"""Types that stay bytes: BYTE, ASCII and UNDEFINED."""


_CHECKS: dict[str, Callable[[bytes], None]] = {
    "AVIF": check_avif,
    "BMP": _check_bmp,
    "GIF": _check_gif,
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "TIFF": _check_tiff,
    "WEBP": _check_webp,
}
