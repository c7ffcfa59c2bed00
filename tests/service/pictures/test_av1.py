"""The sizes of an AV1 stream's frames; libavif and dav1d are what they are held against."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from service.errors import Undecodable
from service.pictures.av1 import Frame, frames
from tests.service.pictures.avif_files import Item, avif, coded, frame, sequence, unit


def decoded_size(stream: bytes, said: tuple[int, int]) -> tuple[int, int]:
    with Image.open(io.BytesIO(avif([Item(stream, said)])), formats=["AVIF"]) as image:
        image.load()
        return image.size


@pytest.mark.parametrize(
    ("stream", "bytes_taken"),
    [
        # A row of 256 pixels and 64 bytes of padding, 128 rows, and 200 x 100 beside them.
        (coded((200, 100), "L"), (256 + 64) * 128 + 20_000),
        (coded((200, 100)), (256 + 64) * 128 * 3 // 2 + 20_000),
        (coded((200, 100), subsampling="4:2:2"), (256 + 64) * 128 * 2 + 20_000),
        (coded((200, 100), subsampling="4:4:4"), (256 + 64) * 128 * 3 + 20_000),
        (coded((200, 100), advanced={"film-grain-test": "1"}), (256 + 64) * 128 * 3 + 20_000),
    ],
)
def test_frame_of_a_still_picture(stream: bytes, bytes_taken: int) -> None:
    assert list(frames(stream)) == [Frame(200, 100, bytes_taken)]


@pytest.mark.parametrize("fields", [{}, {"timing": True}, {"ids": True}, {"order_hints": True}])
@pytest.mark.parametrize("size", [(8, 8), (300, 200)])
def test_frame_header_is_read_as_far_as_to_its_size(
    size: tuple[int, int], fields: dict[str, bool]
) -> None:
    start = sequence(size, points=3 if fields else 1, **fields)
    plain = start + frame(size, own_size=False, **fields)
    assert decoded_size(plain, size) == size
    assert [found[:2] for found in frames(plain)] == [size]
    own = start + frame(size, own_size=True, **fields)
    assert decoded_size(own, size) == size
    assert [found[:2] for found in frames(own)] == [(65536, 65536)]


def test_frame_larger_than_its_sequence_allows_is_decoded_and_so_counted() -> None:
    stream = sequence((64, 64), 9) + frame((300, 200), 9)
    assert decoded_size(stream, (300, 200)) == (300, 200)
    assert [found[:2] for found in frames(stream)] == [(512, 512)]


def test_every_frame_and_every_sequence_counts() -> None:
    hidden = frame((64, 48), own_size=False, shown=False)
    stream = sequence((64, 48)) + hidden * 3 + sequence((300, 200)) + frame((300, 200))
    assert [found.width for found in frames(stream)] == [64, 64, 64, 65536]


def test_pictures_that_super_resolution_and_grain_add() -> None:
    taken = [
        next(
            frames(sequence((128, 128), rgb=True, grain=grain, superres=superres) + unit(3, b"\0"))
        )
        for grain in (False, True)
        for superres in (False, True)
    ]
    planes = (128 + 64) * 128 * 3
    assert [one.bytes - 128 * 128 for one in taken] == [planes, 2 * planes, 2 * planes, 3 * planes]


@pytest.mark.parametrize(
    "stream",
    [
        frame((8, 8)),  # no sequence
        sequence((8, 8))[:-2],
        sequence((8, 8)) + unit(6, b""),
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # a length without end
        b"\x0a",
        unit(1, b"\0" * 3 + b"\x80" + bytes(40)) + b"\x32\x05",  # longer than what is left
        unit(2, b"") * 100,
    ],
)
def test_stream_that_can_not_be_followed_is_refused(stream: bytes) -> None:
    with pytest.raises(Undecodable):
        list(frames(stream))
