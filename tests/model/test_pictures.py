"""Picture files as upright RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import InputError
from model.pictures import read_picture, upright_rgb

RED, BLUE = (255, 0, 0), (0, 0, 255)

# Where the stored top left pixel of a 2x1 picture is seen, for EXIF orientations 1 to 8.
SEEN_AT = {1: (0, 0), 2: (1, 0), 3: (1, 0), 4: (0, 0), 5: (0, 0), 6: (0, 0), 7: (0, 1), 8: (0, 1)}


@pytest.mark.parametrize("orientation", SEEN_AT)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    image = Image.new("RGB", (2, 1), BLUE)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[274] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    seen = read_picture(tmp_path / "a.png")
    assert seen.size == ((2, 1) if orientation < 5 else (1, 2))
    assert seen.getpixel(SEEN_AT[orientation]) == RED


def test_transparent_pixels_show_white() -> None:
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    assert upright_rgb(image).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_to_eight() -> None:
    image = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert np.asarray(upright_rgb(image))[0, :, 0].tolist() == [0, 127, 255]


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "YCbCr"])
def test_every_mode_gives_three_channels(mode: str) -> None:
    assert upright_rgb(Image.new(mode, (3, 2))).mode == "RGB"


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jpg: no such picture"):
        read_picture(tmp_path / "none.jpg")


def test_truncated_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cut\.jpg: not a picture that can be decoded"):
        read_picture(path)
