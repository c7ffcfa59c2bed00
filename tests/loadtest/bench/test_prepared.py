from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from export.manifest import Bundle
from loadtest.bench.prepared import pictures_to_time, prepare
from model.errors import InputError


def test_prepared_images_share_the_commonest_canvas(tiny_bundle: Bundle) -> None:
    pictures = []
    for number, size in enumerate([(64, 48), (48, 64), (128, 96)]):
        buffer = io.BytesIO()
        Image.new("RGB", size, (number, 0, 0)).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    prepared = prepare(pictures, 96, tiny_bundle.manifest)
    assert prepared.images.shape == (2, 96, 128, 3)
    images, image_sizes, places = prepared.batch(1, 3)
    # Batch 1 of three images out of two: rows 3, 4, 5 going round.
    assert images[:, 0, 0, 0].tolist() == [2, 0, 2]
    assert [place.image_size for place in places] == [(96, 128), (48, 64), (96, 128)]
    assert image_sizes.tolist() == [[96, 128]] * 3


def test_picture_that_does_not_decode_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"--images: .*b\.jpg: the content is no picture type"):
        pictures_to_time(tmp_path)
