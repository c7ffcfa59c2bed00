"""Picture files as upright RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.errors import InputError
from model.pictures import orientation_of, read_picture, upright_rgb
from tests.exif import exif_of

RED, BLUE = (255, 0, 0), (0, 0, 255)

# Where the stored top left pixel of a 2x1 picture is seen, for EXIF orientations 1 to 8.
SEEN_AT = {1: (0, 0), 2: (1, 0), 3: (1, 0), 4: (0, 0), 5: (0, 0), 6: (0, 0), 7: (0, 1), 8: (0, 1)}


@pytest.mark.parametrize("orientation", SEEN_AT)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    image = Image.new("RGB", (2, 1), BLUE)
    image.putpixel((0, 0), RED)
    image.save(tmp_path / "a.png", exif=exif_of(orientation))
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


@pytest.mark.parametrize("orientation", SEEN_AT)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "I;16", "F", "CMYK"])
def test_strips_give_what_the_whole_picture_gives(
    mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(orientation)
    rgba = Image.fromarray(rng.integers(0, 256, (7, 5, 4), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (7, 5)).astype(np.uint16))
    else:
        image = (rgba if mode in ("RGBA", "LA") else rgba.convert("RGB")).convert(mode)
    expected = upright_rgb(ImageOps.exif_transpose(_marked(image, orientation)))
    monkeypatch.setattr("model.pictures.STRIP_PIXELS", 11)
    assert np.array_equal(upright_rgb(_marked(image, orientation)), expected)


def _marked(image: Image.Image, orientation: int) -> Image.Image:
    """The same pixels under an EXIF orientation."""
    marked = image.copy()
    marked.getexif()[274] = orientation
    return marked


def test_one_value_above_eight_bits_makes_the_whole_picture_a_deep_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("model.pictures.STRIP_PIXELS", 2)
    image = Image.fromarray(np.array([[255, 0], [0, 65535]], np.uint16))
    assert np.asarray(upright_rgb(image))[..., 0].tolist() == [[0, 0], [0, 255]]


def test_what_is_no_number_is_black() -> None:
    image = Image.fromarray(np.array([[np.nan, np.inf, 12.0]], np.float32))
    assert np.asarray(upright_rgb(image))[0, :, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("value", [0, 9, 65535, "6", (6, 6), 6.5])
def test_orientation_that_does_not_exist_is_none(value: object) -> None:
    image = Image.new("RGB", (2, 1))
    image.getexif()[274] = value
    assert orientation_of(image) == 1


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jpg: no such picture"):
        read_picture(tmp_path / "none.jpg")


def test_truncated_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cut\.jpg: not a picture that can be decoded"):
        read_picture(path)
