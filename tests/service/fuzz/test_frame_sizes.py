"""No broken AVIF takes more memory than is reserved for it, by its frames or by its boxes."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TypeVar

import pytest
from PIL import Image

from service.errors import Problem
from service.pictures.decoded_bytes import decoded_bytes
from service.pictures.images import decode_into_canvas, open_header
from tests.service.fakes import make_manifest
from tests.service.fuzz.mutation import mutants
from tests.service.fuzz.target import MAX_DECODED_BYTES, MAX_IMAGE_PIXELS
from tests.service.hostile import black
from tests.service.peak import MEASURABLE, WHY_NOT, growth
from tests.service.pictures import avif_files

CASES = int(os.environ.get("FUZZ_CASES", "600")) // 2

OPENING_BYTES = 16 * 1024 * 1024
"""What libavif may take to read the boxes, before anything can be reserved: copies of metadata."""

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of broken EXIF data

MANIFEST = make_manifest()

T = TypeVar("T")


def seeds() -> list[bytes]:
    animated = io.BytesIO()
    Image.new("RGB", (64, 48)).save(
        animated, "AVIF", save_all=True, append_images=[Image.new("RGB", (64, 48), "red")]
    )
    size = (64, 48)
    streams = [
        avif_files.sequence(size, points=3, **fields)
        + avif_files.frame((100, 60), shown=False)
        + avif_files.frame(size, own_size=own, **fields)
        for own in (False, True)
        for fields in ({}, {"timing": True}, {"ids": True, "order_hints": True})
    ]
    return [
        black(64, 48, "AVIF"),
        black(64, 48, "AVIF", "RGBA"),
        animated.getvalue(),
        avif_files.lying((2000, 1500), (8, 8)),
        avif_files.lying((8, 8), (1600, 1200)),
        avif_files.tiled(128, 128),
        avif_files.tiled(1600, 1600, tile=64),
        avif_files.own_alpha(64, 64),
        avif_files.hidden_frames(100, 100),
        *(avif_files.avif([avif_files.Item(stream, size, cuts=(9, 40))]) for stream in streams),
    ]


def grown(use: Callable[[], T]) -> tuple[T | None, int]:
    """What it gives, None where it is refused, and by how many bytes the process grew at most."""

    def given() -> T | None:
        try:
            return use()
        except Problem:
            return None

    return growth(given)


def opened(data: bytes) -> tuple[Image.Image, int]:
    """The picture with its header read, and the bytes to be reserved for it."""
    image = open_header(data, MAX_IMAGE_PIXELS)
    return image, decoded_bytes(image, data, 128, MANIFEST)


@pytest.mark.skipif(not MEASURABLE, reason=WHY_NOT)
def test_no_broken_file_takes_more_than_is_reserved_for_it() -> None:
    outcomes: Counter[str] = Counter()
    for data in islice(mutants(seed=7, whole=seeds()), CASES):
        found, grew = grown(partial(opened, data))
        assert grew <= OPENING_BYTES, data
        if found is None:
            outcomes["refused"] += 1
            continue
        image, reserved = found
        if reserved > MAX_DECODED_BYTES:
            outcomes["too large"] += 1
            continue
        prepared, grew = grown(partial(decode_into_canvas, image, image.size, 128, MANIFEST))
        assert grew <= reserved, data
        outcomes["decoded" if prepared else "broken"] += 1
    assert outcomes.keys() == {"refused", "too large", "decoded", "broken"}
