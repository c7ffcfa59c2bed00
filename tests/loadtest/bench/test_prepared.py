from __future__ import annotations

import io

from PIL import Image

from export.manifest import Bundle
from loadtest.bench.prepared import prepare


def test_prepared_images_share_the_commonest_canvas(tiny_bundle: Bundle) -> None:
    pictures = []
    for number, size in enumerate([(64, 48), (48, 64), (128, 96)]):
        buffer = io.BytesIO()
        Image.new("RGB", size, (number, 0, 0)).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    prepared = prepare(pictures, 96, tiny_bundle.manifest)
    assert prepared.images.shape == (2, 96, 128, 3)
    images, places = prepared.batch(1, 3)
    # Batch 1 of three images out of two: rows 3, 4, 5 going round.
    assert images[:, 0, 0, 0].tolist() == [2, 0, 2]
    assert [place.image_size for place in places] == [(96, 128), (48, 64), (96, 128)]
