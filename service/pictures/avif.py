"""What decoding an AVIF takes, told by its boxes and by the AV1 frames inside.

The sizes in an AVIF's header are claims of the container; libavif decodes what the frames hold and
scales that to what the header says. So every coded picture in the file is counted by its own
frames, needed or not, and what libavif would go through before that is bounded.
Source: ISO/IEC 14496-12 (boxes), 23008-12 (items), AV1 Image File Format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from service.pictures.av1 import frames
from service.pictures.bits import Bits
from service.pictures.refusals import broken, too_much

MAX_BOXES = 1000
"""Boxes of one level; an AVIF has a dozen, and two or three for each tile of its grid."""

MAX_TABLE_BYTES = 32 * 1024
"""Tables of items together; a grid of 500 tiles needs 27 KB. libavif looks items up one by one: a
megabyte took it 164 s and 290 MB."""

MAX_PROPERTY_BYTES = 1024
"""A property other than a colour profile; libavif copies it for each item that has it, as often as
that says: a file of 1 MB took 1 GB."""

MAX_METADATA_BYTES = 4 << 20
"""EXIF and XMP together, and a colour profile: all copied twice before anything is decoded."""

MAX_SHARED = 4
"""Times that coded pictures of several extents, which are copied, hold the file's size together:
each of four layers as a picture with those below it."""

SHOWN_BYTES = 12
"""A pixel as libavif's RGB, its copy for Python and the picture itself, 4 bytes each."""

PLANES_BYTES = 8
"""A pixel in planes of their own, with alpha and 16 bits: those of a grid, or scaled."""

CODEC_BYTES = 1 << 19
"""A decoder of one thread; a coded picture has its own where there is transparency."""

_TABLES = (b"iinf", b"iloc", b"iref", b"grpl", b"pitm")


class _Box(NamedTuple):
    """A box's type and content."""

    kind: bytes
    content: memoryview


@dataclass
class _Item:
    kinds: set[bytes] = field(default_factory=set)
    parts: list[memoryview] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    """Width and height, as its header says."""

    @property
    def total_bytes(self) -> int:
        """Of all its parts."""
        return sum(len(part) for part in self.parts)

    @property
    def copied_bytes(self) -> int:
        """What libavif joins of several parts."""
        return self.total_bytes if len(self.parts) > 1 else 0


def check_avif(data: bytes) -> None:
    """Raises Undecodable for a file that asks libavif for more than a picture needs."""
    _coded_items(data)


def still_picture(data: bytes) -> bytes:
    """The file as one that is not animated, so that libavif reads no tables of frames.

    2.5 million frames of a byte each took it 470 MB. What an animated file shows as a still
    picture is its first frame, as a rule.
    """
    head = next(_boxes(memoryview(data), top_level=True))
    if head.kind != b"ftyp" or len(head.content) % 4 or len(head.content) < 8:
        raise broken("AVIF")
    brands = [bytes(head.content[at : at + 4]) for at in range(0, len(head.content), 4)]
    if b"avis" not in brands and b"tmap" not in brands:
        return data
    still = b"avif" + brands[1] + b"avif" * (len(brands) - 2)
    return data[:8] + still + data[8 + len(still) :]


def avif_bytes(data: bytes, width: int, height: int, transparent: bool) -> int:
    """The most bytes that decoding takes, for a header that says this size."""
    items = _coded_items(data)
    shown = width * height
    planes = 0
    for item in items:
        if b"grid" in item.kinds:
            pixels = _grid_pixels(item)
            shown = max(shown, pixels)
            planes += PLANES_BYTES * pixels
        if b"av01" in item.kinds:
            coded = list(frames(_joined(item)))
            planes += CODEC_BYTES + item.copied_bytes + sum(frame.bytes for frame in coded)
            if any((frame.width, frame.height) != item.size for frame in coded):
                planes += PLANES_BYTES * item.size[0] * item.size[1]
    # Nothing keeps a coded picture from being its own transparency: it is decoded once more.
    return SHOWN_BYTES * shown + planes * (2 if transparent else 1)


def _coded_items(data: bytes) -> list[_Item]:
    """The coded pictures and the grids of a file."""
    whole = memoryview(data)
    for box in _boxes(whole, top_level=True):
        if box.kind == b"meta":
            items = _read_items(box.content[4:], whole)
            break
    else:
        raise broken("AVIF")
    coded = [item for item in items if item.kinds & {b"av01", b"grid"}]
    others = [item for item in items if not item.kinds & {b"av01", b"grid"}]
    if sum(item.total_bytes for item in others) > MAX_METADATA_BYTES:
        raise too_much("AVIF", "bytes of metadata", MAX_METADATA_BYTES)
    if sum(item.copied_bytes for item in coded) > MAX_SHARED * len(data):
        raise too_much("AVIF", "copies of itself", MAX_SHARED)
    return coded


def _read_items(meta: memoryview, file: memoryview) -> list[_Item]:
    found: dict[bytes, memoryview] = {}
    for box in _boxes(meta):
        if box.kind in (*_TABLES, b"iprp", b"idat"):
            if box.kind in found:
                raise broken("AVIF")
            found[box.kind] = box.content
    if not {b"iinf", b"iloc", b"iprp"} <= found.keys():
        raise broken("AVIF")
    properties = list(_boxes(found[b"iprp"]))
    if not properties:
        raise broken("AVIF")
    tables = [found.get(kind, b"") for kind in _TABLES] + [box.content for box in properties[1:]]
    if sum(map(len, tables)) > MAX_TABLE_BYTES:
        raise too_much("AVIF", "bytes in its tables", MAX_TABLE_BYTES)
    items: dict[int, _Item] = {}
    _read_places(found[b"iloc"], file, found.get(b"idat", file[:0]), items)
    _read_kinds(found[b"iinf"], items)
    _read_sizes(*properties, items=items)
    return list(items.values())


def _read_places(
    table: memoryview, file: memoryview, held: memoryview, items: dict[int, _Item]
) -> None:
    """Where each item lies: in the file or, by method 1, in what the boxes themselves hold."""
    take = Bits(table, "AVIF").take
    version, _flags = take(8), take(24)
    offset_bits, length_bits, base_bits, index_bits = (8 * take(4) for _ in range(4))
    number_bits = 32 if version == 2 else 16
    if not length_bits:  # then an extent may take no bytes of the table, and there are no bounds
        raise broken("AVIF")
    for _ in range(take(number_bits)):
        number = take(number_bits)
        if number in items or version > 2:
            raise broken("AVIF")
        item = items[number] = _Item()
        method = take(16) if version else 0
        source = {0: file, 1: held}.get(method)
        take(16)  # data_reference_index
        base = take(base_bits)
        for _ in range(take(16)):
            if version:
                take(index_bits)
            begin = base + take(offset_bits)
            end = begin + take(length_bits)
            if source is None or end > len(source):
                raise broken("AVIF")
            item.parts.append(source[begin:end])


def _read_kinds(table: memoryview, items: dict[int, _Item]) -> None:
    """What each item is."""
    wide = Bits(table, "AVIF").take(8)  # version 1 has more than 65,535 of them
    for box in _boxes(table[8 if wide else 6 :]):
        take = Bits(box.content, "AVIF").take
        version, _flags = take(8), take(24)
        number = take(16 if version == 2 else 32)
        take(16)  # item_protection_index
        if number in items:
            items[number].kinds.add(take(32).to_bytes(4))


def _read_sizes(properties: _Box, *tables: _Box, items: dict[int, _Item]) -> None:
    """The size that each item says it has: the first of its properties that is one."""
    sizes: list[tuple[int, int] | None] = []
    for box in _boxes(properties.content):
        accepted = MAX_METADATA_BYTES if box.kind == b"colr" else MAX_PROPERTY_BYTES
        if len(box.content) > accepted:
            raise too_much("AVIF", "bytes in a property", accepted)
        take = Bits(box.content, "AVIF").take
        sizes.append((take(64) & 0xFFFFFFFF, take(32)) if box.kind == b"ispe" else None)
    for table in tables:
        take = Bits(table.content, "AVIF").take
        version, flags = take(8), take(24)
        for _ in range(take(32)):
            item = items.get(take(32 if version else 16), _Item())
            own = [take(16 if flags & 1 else 8) & (0x7FFF if flags & 1 else 0x7F)
                   for _ in range(take(8))]  # fmt: skip
            if any(index > len(sizes) for index in own):
                raise broken("AVIF")
            item.size = next((size for i in own if i and (size := sizes[i - 1])), (0, 0))


def _grid_pixels(item: _Item) -> int:
    take = Bits(_joined(item), "AVIF").take
    side_bits = 32 if take(16) & 1 else 16
    take(16)  # rows_minus_one, columns_minus_one
    return take(side_bits) * take(side_bits)


def _joined(item: _Item) -> bytes | memoryview:
    return item.parts[0] if len(item.parts) == 1 else b"".join(item.parts)


def _boxes(data: memoryview, top_level: bool = False) -> Iterator[_Box]:
    """The boxes in this, one after the other. Only in a file may the last go to the end."""
    at = 0
    for _ in range(MAX_BOXES):
        if at >= len(data):
            return
        take = Bits(data[at : at + 16], "AVIF").take
        size, kind = take(32), take(32).to_bytes(4)
        begin = at + 8
        if size == 1:
            size, begin = take(64), at + 16
        elif size == 0 and top_level:
            size = len(data) - at
        if kind == b"uuid":
            begin += 16
        end = at + size
        if not begin <= end <= len(data):
            raise broken("AVIF")
        yield _Box(kind, data[begin:end])
        at = end
    raise too_much("AVIF", "boxes", MAX_BOXES)
