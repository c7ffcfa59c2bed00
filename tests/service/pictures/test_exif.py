"""The eight EXIF orientations of one photo give the same boxes, through the whole service."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.engines.registry import open_session
from model.synthetic.scene import draw_scene
from service.settings import packaged_bundle
from tests.exif import TURNS, exif_of, stored
from tests.service.conftest import Serving

pytestmark = pytest.mark.anyio


def orientations(upright: Image.Image, kind: str, **options: object) -> list[bytes]:
    """The files of all eight, each showing the same picture."""
    files = []
    for orientation in TURNS:
        out = io.BytesIO()
        stored(upright, orientation).save(out, kind, exif=exif_of(orientation), **options)
        files.append(out.getvalue())
    return files


async def test_the_eight_orientations_give_the_same_boxes(serving: Serving) -> None:
    upright = Image.fromarray(draw_scene(7, (240, 320)).image)
    files = [
        *orientations(upright, "PNG"),
        *orientations(upright, "TIFF"),
        *orientations(upright, "WEBP", lossless=True, method=0),
    ]
    session = open_session(packaged_bundle(), threads=1)
    async with serving(session, max_batch_size=1) as client:
        answers = [(await client.post("/v1/detect?scale=320", content=d)).json() for d in files]
    for answer in answers:
        assert len(answer["detections"]) >= 10
        assert answer["image"] == {"width": 320, "height": 240}
        assert answer["detections"] == answers[0]["detections"]


def as_seen(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The stored pixels as EXIF 2.3 (table 6) has them shown, written out again on purpose."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)  # 5: stored rows are columns from the left
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


async def test_jpeg_of_each_orientation_gives_the_boxes_of_its_turned_pixels(
    serving: Serving,
) -> None:
    scene = Image.fromarray(draw_scene(7, (240, 320)).image)
    session = open_session(packaged_bundle(), threads=1)
    async with serving(session, max_batch_size=1) as client:

        async def found(data: bytes) -> list[dict[str, object]]:
            answer = (await client.post("/v1/detect?scale=320", content=data)).json()
            assert len(answer["detections"]) >= 10
            return answer["detections"]

        for orientation in TURNS:
            jpeg, png = io.BytesIO(), io.BytesIO()
            scene.save(jpeg, "JPEG", quality=90, exif=exif_of(orientation))
            with Image.open(jpeg) as opened:
                pixels = np.asarray(opened)
            Image.fromarray(as_seen(pixels, orientation)).save(png, "PNG")
            assert await found(jpeg.getvalue()) == await found(png.getvalue()), orientation
