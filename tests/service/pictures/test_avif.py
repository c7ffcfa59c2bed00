"""What an AVIF takes is told by its frames, whatever its header says."""

from __future__ import annotations

import asyncio
import io
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import AvifImagePlugin, Image

from service.errors import TooLarge, Undecodable
from service.pictures.avif import avif_bytes, check_avif, still_picture
from service.pictures.decoding import Decoding
from service.pictures.images import decode_upright, open_header, read_upright
from tests.service.fakes import make_manifest, picture
from tests.service.hostile import black
from tests.service.pictures.avif_files import (
    ALPHA,
    Item,
    avif,
    box,
    coded,
    full_box,
    grid,
    ispe,
    lying,
    sequence,
    unit,
)

GREY = coded((256, 256), "L")
FRAME = (256 + 64) * 256 + 256 * 256
"""A row of 256 pixels and 64 bytes of padding, 256 rows, and a byte a pixel beside them."""

CODEC = 512 * 1024
TILES = [Item(GREY, (256, 256))] * 4


def four_tiles(size: tuple[int, int], said: tuple[int, int] | None = None) -> Item:
    data = grid(2, 2, size)
    return Item(data, said or size, b"grid", within=True, refers=[(b"dimg", [2, 3, 4, 5])])


@pytest.mark.parametrize(
    ("data", "size", "bytes_taken"),
    [
        (avif([Item(GREY, (256, 256))]), (256, 256), 12 * 65536 + CODEC + FRAME),
        (avif([Item(GREY, (8, 8))]), (8, 8), 12 * 64 + CODEC + FRAME + 8 * 64),
        (avif([Item(GREY, (900, 900))]), (900, 900), 20 * 810_000 + CODEC + FRAME),
        (
            avif([four_tiles((512, 512)), *TILES]),
            (512, 512),
            20 * 512 * 512 + 4 * (CODEC + FRAME),
        ),
        (
            avif([four_tiles((512, 512), (64, 64)), *TILES]),
            (64, 64),
            20 * 512 * 512 + 4 * (CODEC + FRAME),
        ),
        (
            avif([four_tiles((2048, 2048), (64, 64)), *[Item(GREY, (1024, 1024))] * 4]),
            (64, 64),
            20 * 2048 * 2048 + 4 * (CODEC + FRAME + 8 * 1024 * 1024),
        ),
    ],
    ids=["honest", "says less", "says more", "grid", "grid says less", "tiles say more"],
)
def test_frames_count_and_what_is_made_of_them(
    data: bytes, size: tuple[int, int], bytes_taken: int
) -> None:
    with open_header(data, 10**6) as image:
        assert image.size == size
        decode_upright(image)
    assert avif_bytes(data, *size, transparent=False) == bytes_taken


def test_picture_that_is_its_own_transparency_counts_twice() -> None:
    data = avif([Item(GREY, (256, 256), refers=[(b"auxl", [1])], properties=[ALPHA])])
    with open_header(data, 10**6) as image:
        assert image.mode == "RGBA"
    assert avif_bytes(data, 256, 256, transparent=True) == 12 * 65536 + 2 * (CODEC + FRAME)


@pytest.mark.parametrize("within", [False, True])
def test_parts_of_a_picture_are_found_and_their_copy_counted(within: bool) -> None:
    data = avif([Item(GREY, (256, 256), within=within, cuts=(1, 7))])
    assert read_upright(data).size == (256, 256)
    assert avif_bytes(data, 256, 256, False) == 12 * 65536 + CODEC + FRAME + len(GREY)


def test_file_that_says_8x8_of_a_large_frame_is_held_to_its_frame() -> None:
    data = lying((1024, 768), (8, 8))
    with open_header(data, 64) as image:
        assert image.size == (8, 8)
    with ThreadPoolExecutor(1) as pool:
        decoding = Decoding(pool, 2_500_000, 10**6)
        with pytest.raises(TooLarge, match="AVIF of 8x8 pixels takes"):
            asyncio.run(decoding.prepare(data, 128, make_manifest()))


def test_animated_file_is_read_as_its_first_frame_without_its_tables() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "AVIF", save_all=True, append_images=frames[1:])
    assert out.getvalue()[8:12] == b"avis"
    with open_header(out.getvalue(), 10**6) as image:
        assert image.n_frames == 1
    red, _, blue = read_upright(out.getvalue()).getpixel((5, 5))
    assert red > 200
    assert blue < 50


def test_still_file_is_passed_on_as_it_is() -> None:
    data = picture(40, 30, "AVIF")
    assert still_picture(data) is data


def test_one_thread_decodes_a_file() -> None:
    AvifImagePlugin.DEFAULT_MAX_THREADS = 0
    open_header(picture(40, 30, "AVIF"), 10**6)
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == 1


EXIF = Item(b"Exif", kind=b"Exif")
PLAIN = Item(GREY, (256, 256))
TOO_MUCH = {
    "bytes in its tables": avif([PLAIN] + [EXIF] * 1000),
    "bytes in a property": avif([Item(GREY, (256, 256), properties=[box(b"what", bytes(1025))])]),
    "bytes of metadata": avif([PLAIN, Item(bytes((4 << 20) + 1), kind=b"Exif")]),
    "copies of itself": avif([Item(GREY + unit(15, bytes(9999)), (256, 256), cuts=(5,))] * 9),
    "boxes": avif([PLAIN], extra=box(b"free") * 1000),
    "boxes before meta": box(b"ftyp", b"avif\0\0\0\0") + box(b"free") * 1000 + box(b"meta"),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_file_that_asks_for_work_without_pixels_is_refused(what: str) -> None:
    with pytest.raises(Undecodable, match=f"the AVIF has too many {what.split(' before')[0]}"):
        open_header(TOO_MUCH[what], 10**6)


HEAD = box(b"ftyp", b"avif\0\0\0\0mif1")
PLACE = full_box(b"iloc", b"\x44\0\0\1", struct.pack(">HHHHII", 1, 0, 0, 1, 0, 8), version=1)


def changed(before: bytes, after: bytes) -> bytes:
    data = avif([PLAIN])
    assert data.count(before) == 1
    return data.replace(before, after)


BROKEN = {
    "no meta": HEAD + box(b"mdat", GREY),
    "no places": HEAD + full_box(b"meta", full_box(b"iinf", b"\0\0"), box(b"iprp", box(b"ipco"))),
    "no properties": HEAD + full_box(b"meta", PLACE, full_box(b"iinf", b"\0\0"), box(b"iprp")),
    "two tables of places": avif([PLAIN], extra=PLACE),
    "place outside": avif([PLAIN])[:-1],
    "place in what is not there": changed(b"\0\1\0\0\0\0\0\1", b"\0\1\0\1\0\0\0\1"),
    "place in another item": changed(b"\0\1\0\0\0\0\0\1", b"\0\1\0\2\0\0\0\1"),
    "places without bytes": changed(b"\1\0\0\0\x44\0\0\1", b"\1\0\0\0\0\0\0\1"),
    "property that is not there": changed(b"\0\1\2\1\2", b"\0\1\2\1\3"),
    "box of size 0": avif([PLAIN], extra=struct.pack(">I", 0) + b"free"),
    "box that goes on": avif([PLAIN], extra=struct.pack(">I", 1 << 30) + b"free"),
    "head cut short": HEAD[:12] + b"\0\0\0",
    "no kinds": changed(b"iinf", b"what"),
    "empty kinds": HEAD + full_box(b"meta", PLACE, box(b"iinf"), box(b"iprp", box(b"ipco"))),
}


@pytest.mark.parametrize("what", BROKEN)
def test_file_that_can_not_be_followed_is_refused(what: str) -> None:
    with pytest.raises(Undecodable, match="the AVIF does not decode"):
        open_header(BROKEN[what], 10**6)


def test_stream_that_can_not_be_followed_is_refused_before_it_is_decoded() -> None:
    data = avif([Item(sequence((8, 8)) + unit(6, b""), (8, 8))])
    check_avif(data)
    with pytest.raises(Undecodable):
        avif_bytes(data, 8, 8, transparent=False)


def test_boxes_of_other_widths_are_read() -> None:
    """A box with a long length, one to the end, and a table of 32-bit numbers."""
    data = avif([PLAIN])
    at = data.index(b"mdat") - 4
    long = struct.pack(">I4sQ", 1, b"mdat", len(data) - at + 8)
    moved = data[:at] + long + data[at + 8 :]
    begin = struct.pack(">I", at + 8)
    assert avif_bytes(
        moved.replace(begin, struct.pack(">I", at + 16)), 256, 256, False
    ) == avif_bytes(data, 256, 256, False)
    to_the_end = data[:at] + bytes(4) + data[at + 4 :]
    assert read_upright(to_the_end).size == (256, 256)


def test_ispe_of_pillow_is_the_one_that_is_patched() -> None:
    assert black(64, 48, "AVIF").count(ispe((64, 48))) == 1
