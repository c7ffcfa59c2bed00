from __future__ import annotations

import struct

import pytest

from service.errors import Undecodable
from service.pictures.containers import check_container, first_scan_channels, frame_pixels
from service.pictures.images import read_upright, type_of
from tests.service import hostile
from tests.service.fakes import picture

SMALL = hostile.zeros(8 * 25)
TEXT = hostile.chunk(b"zTXt", b"k\0\0" + hostile.zeros(1 << 20))

TOO_MUCH = {
    "scans": hostile.jpeg_of_scans(51),
    "bytes outside its segments": b"\xff\xd8\xff" + bytes(70_000),
    "bytes outside its segment": b"\xff\xd8" + b"\xff" * 70_000,
    "EXIF segments": b"\xff\xd8" + b"\xff\xe1\0\x10Exif\0\0abcdefgh" * 17,
    "segments": b"\xff\xd8" + b"\xff\xfe\0\2" * 20_001,
    "chunks": hostile.png(8, 8, SMALL, before=hostile.chunk(b"teSt", b"") * 20_000),
    "chunk": hostile.png(8, 8, SMALL, after=hostile.chunk(b"teSt", b"") * 20_000),
    "compressed texts": hostile.png(8, 8, SMALL, before=TEXT * 17),
    "blocks before its first frame": hostile.gif_of_comments(10_001),
    "bytes, run-length coded": hostile.bmp_of_runs(8, 8, b"\1\0" * 600_000),
    "tags": b"II*\0" + struct.pack("<LH", 8, 1025) + bytes(12 * 1025 + 4),
    "tag": b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 1025) + bytes(20 * 1025 + 8),
    "bytes of EXIF": hostile.png(8, 8, SMALL, before=hostile.chunk(b"eXIf", bytes((1 << 20) + 1))),
    "bytes of EXIF of a WebP": b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", (1 << 20) + 1),
    "numbers in its tags": b"II*\0" + struct.pack("<LHHHLL", 8, 2, 40000, 5, 65_537, 0),
    "numbers in its tags of a BigTIFF": b"MM\0+\0\x08\0\0"
    + struct.pack(">QQHHQQHHQQ", 16, 2, 40000, 4, 40_000, 0, 40001, 4, 40_000, 0),
    "chunks of a WebP": hostile.webp_of_chunks(20_001),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_file_that_asks_for_work_without_pixels_is_refused(what):
    data = TOO_MUCH[what]
    kind = type_of(data)
    assert kind is not None
    with pytest.raises(Undecodable, match=f"the {kind} has too many {what.split(' of a')[0]}"):
        check_container(kind, data)


WITHIN = {
    "scans": hostile.jpeg_of_scans(50),
    "chunks": hostile.png(8, 8, SMALL, before=hostile.chunk(b"teSt", b"") * 10_000),
    "texts": hostile.png(8, 8, SMALL, before=TEXT * 16),
    "comments": hostile.gif_of_comments(9_000),
    "runs": hostile.bmp_of_runs(8, 8, (b"\x08\0\0\0" * 8) + b"\0\1"),
    "webp": hostile.webp_of_chunks(19_000),
    "tile": hostile.tiff_of_one_tile(16, 256),
    "tags of a BigTIFF": hostile.black(16, 16, "TIFF", big_tiff=True),
    "scan of each channel": hostile.sequential_scans(16, 16),
}


@pytest.mark.parametrize("what", WITHIN)
def test_file_within_the_bounds_is_decoded(what):
    assert max(read_upright(WITHIN[what]).size) <= 16


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_file_cut_short_anywhere_is_left_to_its_decoder(kind):
    data = picture(40, 30, kind)
    for end in range(0, len(data), max(1, len(data) // 200)):
        check_container(kind, data[:end])


def test_a_second_picture_behind_the_first_counts_no_scans():
    check_container("JPEG", picture(8, 8, "JPEG") * 60)


@pytest.mark.parametrize(
    ("data", "channels"),
    [
        (picture(8, 8, "JPEG"), 3),
        (hostile.black(8, 8, "JPEG", "L"), 1),
        (hostile.sequential_scans(8, 8), 1),
        (b"\xff\xd8\xff\xd9", 0),
    ],
)
def test_channels_of_the_first_scan(data, channels):
    assert first_scan_channels(data) == channels


SOF = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 300, 200) + b"\1\1\x11\0"


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (picture(40, 30, "JPEG"), 1200),
        (hostile.black(40, 30, "JPEG", progressive=True), 1200),
        (picture(40, 30, "JPEG")[:2] + SOF + picture(40, 30, "JPEG")[2:], 60_000),
        (hostile.black(40, 30, "JPEG")[:-2] + SOF, 1200),  # after its scan: no decoder takes it
        (b"\xff\xd8" + SOF[:6], 0),
        (b"\xff\xd8", 0),
    ],
)
def test_pixels_of_the_largest_frame(data, pixels):
    assert frame_pixels(data) == pixels
