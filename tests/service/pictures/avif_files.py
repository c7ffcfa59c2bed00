"""AV1 streams and AVIF files made by hand, honest or not."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.service.hostile import black

Size = tuple[int, int]


class BitWriter:
    """Bits, the highest first."""

    def __init__(self) -> None:
        self._bits = ""

    def put(self, number: int, bits: int = 1) -> None:
        if bits:
            self._bits += format(number, f"0{bits}b")

    def packed(self) -> bytes:
        """All of them, filled up with zeros."""
        padded = self._bits + "0" * (-len(self._bits) % 8)
        return bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8))


def unit(kind: int, content: bytes) -> bytes:
    """An OBU."""
    size, number = b"", len(content)
    while number > 0x7F:
        size += bytes([number & 0x7F | 0x80])
        number >>= 7
    return bytes([kind << 3 | 2]) + size + bytes([number]) + content


def sequence(
    size: Size,
    side_bits: int = 16,
    *,
    rgb: bool = False,
    timing: bool = False,
    points: int = 1,
    ids: bool = False,
    order_hints: bool = False,
    grain: bool = False,
    superres: bool = False,
) -> bytes:
    """A sequence header of a stream whose frames may have sizes of their own; grey or 4:4:4."""
    out = BitWriter()
    out.put(1 if rgb else 0, 3)  # seq_profile
    out.put(0, 2)  # neither still nor reduced
    out.put(timing)
    if timing:
        out.put(1, 32)
        out.put(1, 32)
        out.put(0)  # pictures at any time
        out.put(1)  # decoder_model_info_present_flag
        out.put(9, 5)
        out.put(1, 32)
        out.put(4, 5)
        out.put(6, 5)  # frame_presentation_time has 7 bits
    out.put(timing)  # initial_display_delay_present_flag
    out.put(points - 1, 5)
    for _ in range(points):
        out.put(0, 12)
        out.put(8, 5)  # a level that has a tier
        out.put(0)
        if timing:
            out.put(1)
            out.put(0, 10 + 10 + 1)
            out.put(1)
            out.put(3, 4)
    out.put(side_bits - 1, 4)
    out.put(side_bits - 1, 4)
    out.put(size[0] - 1, side_bits)
    out.put(size[1] - 1, side_bits)
    out.put(ids)
    if ids:
        out.put(3, 4)
        out.put(2, 3)  # frame ids of 8 bits
    out.put(0, 3 + 4)
    out.put(order_hints)
    if order_hints:
        out.put(0, 2)
    out.put(0, 2)  # no screen content tools
    if order_hints:
        out.put(4, 3)  # order hints of 5 bits
    out.put(superres)
    out.put(0, 2 + 1)  # no filters; 8 bits
    if rgb:
        out.put(0, 2)  # no color_description, studio range
    else:
        out.put(1)  # grey
        out.put(0, 2)
    out.put(0, 1 if rgb else 0)
    out.put(grain)
    out.put(1)
    return unit(1, out.packed())


def frame(
    size: Size,
    side_bits: int = 16,
    *,
    own_size: bool = True,
    shown: bool = True,
    kept: int = 0,
    timing: bool = False,
    ids: bool = False,
    order_hints: bool = False,
) -> bytes:
    """A key frame of one tile, after a grey `sequence`; what it shows is no matter.

    `kept`: the reference that it becomes if it is not shown.
    """
    out = BitWriter()
    out.put(0)  # no show_existing_frame
    out.put(0, 2)  # a key frame
    out.put(shown)
    if not shown:
        out.put(1, 2)  # showable_frame 0, error_resilient_mode 1
    elif timing:
        out.put(0x55, 7)
    out.put(1)  # disable_cdf_update
    out.put(0x55, 8 if ids else 0)
    out.put(own_size)
    out.put(0x15, 5 if order_hints else 0)
    out.put(0, 1 if timing else 0)  # buffer_removal_time_present_flag
    if not shown:
        out.put(1 << kept, 8)  # refresh_frame_flags
    if own_size:
        out.put(size[0] - 1, side_bits)
        out.put(size[1] - 1, side_bits)
    out.put(0)  # render_and_frame_size_different
    out.put(1)  # uniform_tile_spacing_flag
    for side in size:
        out.put(0, 1 if side > 64 else 0)  # one tile
    out.put(0, 8 + 1 + 1)  # lossless, no matrices
    out.put(0, 1)  # no segments
    out.put(0, 1)  # reduced_tx_set
    return unit(6, out.packed() + bytes(64 + size[0] * size[1] // 8))  # no symbol takes less


def coded(size: Size, mode: str = "RGB", **options: object) -> bytes:
    """The AV1 stream of a black picture, as Pillow has it made."""
    options = {"speed": 10} | options
    return media(black(*size, "AVIF", mode, **options))


def media(file: bytes) -> bytes:
    """The data behind an AVIF's boxes."""
    return file[file.index(b"mdat") + 4 :]


def box(kind: bytes, *content: bytes) -> bytes:
    """A box."""
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + kind + data


def full_box(kind: bytes, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box that has a version."""
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


def ispe(size: Size) -> bytes:
    """The property that says how large an item is."""
    return full_box(b"ispe", struct.pack(">II", *size))


@dataclass
class Item:
    """A part of a file. `cuts`: where its data is cut into several extents."""

    data: bytes
    size: Size = (0, 0)
    kind: bytes = b"av01"
    within: bool = False
    cuts: Sequence[int] = ()
    properties: list[bytes] = field(default_factory=list)
    refers: list[tuple[bytes, list[int]]] = field(default_factory=list)


AV1C = box(b"av1C", bytes([0x81, 0x1F, 0x1C, 0]))
"""Profile 0, 8 bits, grey."""

ALPHA = full_box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")


def grid(rows: int, columns: int, size: Size) -> bytes:
    """The data of an item that is made of others."""
    return struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, *size)


def avif(
    items: Sequence[Item], brands: bytes = b"avif\0\0\0\0avifmif1miaf", extra: bytes = b""
) -> bytes:
    """An AVIF of items, numbered from 1, of which the first is the picture; `extra` ends `meta`.

    Items of the same data share it.
    """
    properties: list[bytes] = []
    owned: list[list[int]] = []
    for item in items:
        own = [ispe(item.size)] if item.size[0] else []
        own += ([AV1C] if item.kind == b"av01" else []) + item.properties
        for each in own:
            if each not in properties:
                properties.append(each)
        owned.append([properties.index(each) + 1 for each in own])
    associations = b"".join(
        struct.pack(">HB", number, len(own)) + bytes(own) for number, own in enumerate(owned, 1)
    )
    kinds = b"".join(
        full_box(b"infe", struct.pack(">HH", number, 0), item.kind, b"\0", version=2)
        for number, item in enumerate(items, 1)
    )
    references = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to))
        for number, item in enumerate(items, 1)
        for kind, to in item.refers
    )

    stored = {within: dict.fromkeys(i.data for i in items if i.within == within)
              for within in (False, True)}  # fmt: skip
    held = b"".join(stored[True])

    def meta(base: int) -> bytes:
        at = {}
        for within, begin in ((False, base), (True, 0)):
            for data in stored[within]:
                at[within, data] = begin
                begin += len(data)
        places = b""
        for number, item in enumerate(items, 1):
            edges = [0, *item.cuts, len(item.data)]
            places += struct.pack(">HHHH", number, item.within, 0, len(edges) - 1)
            for begin, end in itertools.pairwise(edges):
                places += struct.pack(">II", at[item.within, item.data] + begin, end - begin)
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4) + b"pict" + bytes(13)),
            full_box(b"pitm", b"\0\1"),
            full_box(b"iloc", b"\x44\0", struct.pack(">H", len(items)), places, version=1),
            full_box(b"iinf", struct.pack(">H", len(items)), kinds),
            full_box(b"iref", references),
            box(
                b"iprp",
                box(b"ipco", *properties),
                full_box(b"ipma", struct.pack(">I", len(items)), associations),
            ),
            *([box(b"idat", held)] if held else []),
            extra,
        )

    head = box(b"ftyp", brands)
    base = len(head) + len(meta(0)) + 8
    return head + meta(base) + box(b"mdat", *stored[False])


def lying(size: Size, said: Size) -> bytes:
    """A black AVIF, as Pillow has it made, whose header says another size than its frame has."""
    honest = black(*size, "AVIF", speed=10)
    assert honest.count(ispe(size)) == 1
    return honest.replace(ispe(size), ispe(said))


def tiled(width: int, height: int, tile: int = 0) -> bytes:
    """A grid of 2x2 grey tiles, of half its size or of this one, which say they have half its."""
    half = (width // 2, height // 2)
    data = grid(2, 2, (width, height))
    first = Item(data, (width, height), b"grid", within=True, refers=[(b"dimg", [2, 3, 4, 5])])
    return avif([first] + [Item(coded((tile, tile) if tile else half, "L"), half)] * 4)


def own_alpha(width: int, height: int) -> bytes:
    """A grey picture that is also its own transparency."""
    stream = coded((width, height), "L")
    return avif([Item(stream, (width, height), refers=[(b"auxl", [1])], properties=[ALPHA])])


def hidden_frames(width: int, height: int, frames: int = 6) -> bytes:
    """A picture of 8x8 that comes after larger frames that are kept for later."""
    size = (width, height)
    start = sequence(size, 10) + frame(size, 10, own_size=False, shown=False, kept=0)
    for slot in range(1, frames):
        start += frame(size, 10, own_size=False, shown=False, kept=slot)
    return avif([Item(start + sequence((8, 8)) + frame((8, 8), own_size=False), (8, 8))])
