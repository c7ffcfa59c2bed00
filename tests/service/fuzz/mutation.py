"""Picture files, broken in many ways, the same ones for the same seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence

from tests.service import hostile
from tests.service.fakes import picture

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which signs and widths change."""


def seeds() -> list[bytes]:
    """A small file of each type and coding."""
    rgb = [picture(24, 16, kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")]
    others = [
        hostile.black(24, 16, "JPEG", "CMYK"),
        hostile.black(24, 16, "JPEG", progressive=True),
        hostile.sequential_scans(24, 16),
        hostile.black(24, 16, "PNG", "RGBA"),
        hostile.black(24, 16, "PNG", "I;16"),
        hostile.black(24, 16, "PNG", "P", transparency=0),
        hostile.black(24, 16, "PNG", "1"),
        hostile.black(24, 16, "TIFF", compression="tiff_lzw"),
        hostile.black(24, 16, "TIFF", compression="jpeg"),
        hostile.black(24, 16, "TIFF", "F"),
        hostile.black(24, 16, "TIFF", "1", compression="group4"),
        hostile.tiff_of_one_tile(16, 64),
        hostile.black(24, 16, "WEBP", "RGBA", lossless=True),
        hostile.black(24, 16, "GIF", "P", transparency=0),
        hostile.black(24, 16, "AVIF", "RGBA"),
        hostile.bmp_of_runs(8, 8, (b"\x08\0\0\0" * 8) + b"\0\1"),
        hostile.gif_of_comments(3),
        hostile.webp_of_chunks(3),
    ]
    return rgb + others


def mutants(seed: int, whole: Sequence[bytes] = ()) -> Iterator[bytes]:
    """Broken files without end, made of these or of `seeds`."""
    rng = random.Random(seed)
    whole = whole or seeds()
    while True:
        data = bytearray(rng.choice(whole))
        for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
            rng.choice(MUTATIONS)(rng, data)
        yield bytes(data)


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _number(rng: random.Random, data: bytearray) -> None:
    """A number where headers have theirs, more often than not."""
    at = rng.randrange(min(len(data), rng.choice((64, len(data)))) or 1)
    value, code = rng.choice(INTERESTING), rng.choice(("<I", ">I", "<H", ">H", "B"))
    size = struct.calcsize(code)
    data[at : at + size] = struct.pack(code, value & (256**size - 1))


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _drop(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.randrange(1, 33)]


def _repeat(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = data[at : at + rng.randrange(1, 65)] * rng.choice((1, 2, 50, 2000))


def _noise(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 17))


def _splice(rng: random.Random, data: bytearray) -> None:
    other = rng.choice(SPLICED)
    data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other)) :]


SPLICED = (hostile.black(16, 16, "JPEG"), hostile.black(16, 16, "PNG"))

MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip, _flip, _number, _number, _number, _cut, _drop, _repeat, _noise, _splice,
)  # fmt: skip
