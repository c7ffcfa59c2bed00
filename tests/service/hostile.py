"""Picture files that ask for more than a picture needs, and the pieces to make them of."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int,
    height: int,
    pixels: bytes = b"",
    *,
    depth: int = 8,
    colour: int = 2,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG of zlib data, with chunks before and after them; colour 0 grey, 2 RGB, 3 palette."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", pixels) if pixels else b""
    return PNG_SIGNATURE + chunk(b"IHDR", header) + before + body + after + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    """So many zeros as zlib data, made without holding them."""
    packer = zlib.compressobj(9)
    packed = b"".join(
        packer.compress(bytes(min(1 << 20, size - at))) for at in range(0, size, 1 << 20)
    )
    return packed + packer.flush()


def black(width: int, height: int, kind: str, mode: str = "RGB", **options: object) -> bytes:
    """A black picture file."""
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, kind, **options)
    return out.getvalue()


def jpeg_of_scans(scans: int, side: int = 16) -> bytes:
    """A progressive grey JPEG whose last scan comes again and again."""
    data = black(side, side, "JPEG", "L", progressive=True)
    at = data.rindex(b"\xff\xda")
    has = data.count(b"\xff\xda")
    return data[:at] + data[at:-2] * (scans - has + 1) + data[-2:]


def sequential_scans(width: int, height: int) -> bytes:
    """A black JPEG that is not progressive, yet holds each of its three channels in its own scan.

    Each block is one bit of DC and one bit of AC.
    """
    tables = b"\xff\xdb\0\x43\0" + b"\1" * 64
    for kind in (0x00, 0x10):
        tables += b"\xff\xc4\0\x14" + bytes([kind, 1]) + bytes(15) + b"\0"
    channels = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    frame = b"\xff\xc0\0\x11\x08" + struct.pack(">HHB", height, width, 3) + channels
    blocks = -(-width // 8) * -(-height // 8)
    bits = bytes(-(-blocks * 2 // 8))
    scans = b"".join(
        b"\xff\xda\0\x08\1" + bytes([number, 0, 0, 63, 0]) + bits for number in (1, 2, 3)
    )
    return b"\xff\xd8" + tables + frame + scans + b"\xff\xd9"


def tiff(tags: list[tuple[int, int, int, int | None]], data: bytes) -> bytes:
    """A TIFF of (tag, type, count, value) with data; a value of None is where those begin."""
    begin = 8 + 2 + 12 * len(tags) + 4
    rows = (
        struct.pack("<HHLL", tag, kind, count, begin if value is None else value)
        for tag, kind, count, value in tags
    )
    head = b"II*\0" + struct.pack("<LH", 8, len(tags))
    return head + b"".join(rows) + struct.pack("<L", 0) + data


def tiff_of_one_tile(side: int, tile: int) -> bytes:
    """A small grey picture in one huge deflated tile."""
    data = zeros(tile * tile)
    return tiff(
        [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1),
         (277, 3, 1, 1), (322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, None),
         (325, 4, 1, len(data))],
        data,
    )  # fmt: skip


def tiff_of_taller_jpeg(width: int, height: int) -> bytes:
    """A TIFF of 16 rows whose only strip is a progressive JPEG of so many."""
    data = black(width, height, "JPEG", "L", progressive=True)
    return tiff(
        [(256, 4, 1, width), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 1),
         (273, 4, 1, None), (277, 3, 1, 1), (278, 4, 1, 16), (279, 4, 1, len(data))],
        data,
    )  # fmt: skip


def bmp_of_runs(width: int, height: int, runs: bytes) -> bytes:
    """An 8-bit BMP, run-length coded."""
    file_header = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    return file_header + info + bytes(1024) + runs


def gif_of_comments(comments: int) -> bytes:
    """A GIF with so many comments before its only frame."""
    plain = black(8, 8, "GIF", "L")
    palette_end = 13 + (3 << (plain[10] & 7) + 1)
    return plain[:palette_end] + b"\x21\xfe\x01a\0" * comments + plain[palette_end:]


def webp_of_chunks(chunks: int) -> bytes:
    """A WebP with so many empty chunks behind its picture."""
    picture = black(8, 8, "WEBP")[12:]
    side = (7).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + side + side + picture
    body += b"tesT\0\0\0\0" * chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body
