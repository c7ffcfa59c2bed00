"""Boxes lie on the objects, however a file says it is turned."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.engines.session import Detections
from tests.exif import exif_of
from tests.service.console.visits import RunningServer, running_server
from tests.service.fakes import FakeSession, detections

pytestmark = pytest.mark.slow


def find_red(images: Any) -> list[Detections]:
    """One box around the red pixels of each canvas."""
    found = []
    for image in images.astype(int):
        y, x = np.nonzero((image[..., 0] > 180) & (image[..., 1] < 90) & (image[..., 2] < 90))
        box = (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else (0, 0, 1, 1)
        found.append(detections((tuple(map(float, box)), 0.9, 1)))
    return found


@pytest.fixture(scope="module")
def red_server() -> Iterator[RunningServer]:
    with running_server(FakeSession(on_run=find_red)) as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "orientation"),
    [*(("JPEG", each) for each in range(1, 9))]
    + [(kind, each) for kind in ("WEBP", "PNG", "TIFF") for each in (1, 3, 6)],
)
def test_boxes_lie_where_the_browser_shows_the_object(red_server, look, kind, orientation):
    scene = Image.new("RGB", (160, 128), "white")
    scene.paste((255, 0, 0), (96, 16, 144, 48))
    exif = exif_of(orientation)
    file = io.BytesIO()
    scene.save(file, kind, exif=exif.tobytes() if kind != "TIFF" else exif)
    console = look(red_server.url, viewport={"width": 1200, "height": 900})
    name = f"turned.{kind.lower()}"
    console.set_input_files(
        "#files", {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": file.getvalue()}
    )
    console.answered()
    console.evaluate("() => document.querySelector('.frame img').decode()")
    box = console.locator(".detection .line").bounding_box()
    frame = console.locator(".frame").first.bounding_box()
    console.evaluate("() => { document.querySelector('.overlay').style.display = 'none'; }")
    shot = np.asarray(
        Image.open(io.BytesIO(console.locator(".frame").first.screenshot())).convert("RGB")
    ).astype(int)
    y, x = np.nonzero((shot[..., 0] > 180) & (shot[..., 1] < 90) & (shot[..., 2] < 90))
    seen = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
    drawn = np.array([box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]])
    drawn -= np.array([frame["x"], frame["y"]] * 2)
    # A pixel of the picture is about four of the screen; scaling blurs the edge by one of them.
    np.testing.assert_allclose(drawn, seen, atol=6)
