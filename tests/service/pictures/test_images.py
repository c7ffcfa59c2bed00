from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.letterbox import Canvas, fill_canvas, letterbox
from service.errors import Problem, TooLarge, Undecodable, UnsupportedType
from service.pictures.images import (
    open_header,
    prepare_image,
    read_upright,
    shrink_in_decoder,
    type_of,
)
from tests.exif import exif_of, stored
from tests.service.fakes import make_manifest, picture

KINDS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")


@pytest.mark.parametrize("kind", KINDS)
def test_type_is_told_by_content_and_each_type_decodes(kind):
    data = picture(40, 30, kind)
    assert type_of(data) == kind
    assert read_upright(data).size == (40, 30)


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"%PDF-1.4", picture(8, 8, "ICO")])
def test_what_is_no_accepted_picture_is_an_unsupported_type(data):
    with pytest.raises(UnsupportedType):
        read_upright(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_cut_short_does_not_decode(kind):
    with pytest.raises(Undecodable, match=f"the {kind} does not decode"):
        read_upright(picture(64, 64, kind)[:60])


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IEND"
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
        + struct.pack(">I", 0) + end + struct.pack(">I", zlib.crc32(end))
    )  # fmt: skip


@pytest.mark.parametrize("size", [(10_000, 10_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_from_its_header(size):
    with pytest.raises(TooLarge, match="accepted are up to 50,000,000"):
        open_header(png_header(*size), 50_000_000)


def test_the_pixel_cap_itself_is_accepted():
    data = picture(40, 30)
    assert read_upright(data, max_pixels=1200).size == (40, 30)
    with pytest.raises(TooLarge, match="40x30"):
        read_upright(data, max_pixels=1199)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_upright_image(orientation):
    upright = Image.new("RGB", (40, 20), "white")
    upright.paste((200, 0, 0), (0, 0, 20, 10))
    out = io.BytesIO()
    stored(upright, orientation).save(out, "PNG", exif=exif_of(orientation))
    assert np.array_equal(np.asarray(read_upright(out.getvalue())), np.asarray(upright))


def test_only_the_first_frame_is_read():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    assert read_upright(out.getvalue()).getpixel((0, 0)) == (255, 0, 0)


def test_prepare_image_fills_the_canvas_that_the_image_gets():
    data = picture(width=80, height=64)
    canvas, place = prepare_image(data, 128, make_manifest())
    assert canvas.shape == (128, 160, 3)
    assert place.resized == (128, 160)
    assert place.image_size == (64, 80)
    portrait = prepare_image(picture(width=50, height=128), 128, make_manifest())
    assert portrait.canvas.shape == (160, 128, 3)
    assert portrait.place.resized == (160, 62)  # 128 / 50 * 128 is past the canvas
    assert not portrait.canvas[:, 62:].any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "P"])
def test_canvas_is_that_of_the_upright_picture_to_the_bit(
    mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (301, 203, 4), np.uint8)
    image = Image.fromarray(noise)
    if mode == "I;16":
        image = Image.fromarray(noise[..., :2].copy().view(np.uint16)[..., 0])
    elif mode != "RGBA":
        image = image.convert("RGB").convert(mode)
    out = io.BytesIO()
    image.save(out, "PNG", exif=exif_of(orientation))
    expected = np.zeros((160, 128, 3) if orientation < 5 else (128, 160, 3), np.uint8)
    upright = read_upright(out.getvalue())
    fill_canvas(
        upright, letterbox(upright.size[::-1], 128, [Canvas(*expected.shape[:2])]), expected
    )
    monkeypatch.setattr("model.pictures.STRIP_PIXELS", 1000)
    assert np.array_equal(prepare_image(out.getvalue(), 128, make_manifest()).canvas, expected)


@pytest.mark.parametrize(
    ("width", "height", "shrink"),
    [
        (960, 768, 2),
        (960, 766, 1),  # shorter than twice three times the scale
        (961, 768, 1),
        (964, 772, 2),
        (968, 772, 2),
        (1920, 1536, 4),
        (1536, 4096, 4),
        (8192, 3072, 8),
        (24000, 3072, 8),
    ],
)
def test_jpeg_decoder_shrinks_by_what_divides_and_leaves_three_times_the_scale(
    width, height, shrink
):
    image = Image.new("L", (width, height))
    out = io.BytesIO()
    image.save(out, "JPEG")
    with open_header(out.getvalue(), 10**9) as opened:
        assert shrink_in_decoder(opened, 128) == shrink
        assert opened.size == (width // shrink, height // shrink)


def test_shrunk_jpeg_is_prepared_as_the_picture_of_its_own_size():
    data = picture(960, 768, "JPEG", quality=95)
    whole = read_upright(data)
    prepared = prepare_image(data, 128, make_manifest())
    assert prepared.place.image_size == (768, 960)
    expected = np.zeros_like(prepared.canvas)
    fill_canvas(whole, prepared.place, expected)
    apart = np.abs(prepared.canvas.astype(int) - expected)
    assert apart.mean() < 1.0
    assert apart.max() <= 12  # at the edges where the gradient starts again at 0


def test_picture_of_another_type_is_not_shrunk_by_its_decoder():
    with open_header(picture(960, 768, "PNG"), 10**9) as opened:
        assert shrink_in_decoder(opened, 128) == 1


@pytest.mark.filterwarnings("ignore")  # Pillow warns of bad EXIF data that it can do without
def test_no_awkward_file_ends_in_anything_but_pixels_or_a_problem_of_the_caller(awkward: Path):
    listed = json.loads((awkward / "manifest.json").read_text())
    surprises = {}
    for item in listed:
        data = (awkward / item["path"]).read_bytes()
        try:
            outcome = read_upright(data).mode
        except Problem as problem:
            outcome = str(problem.status)
        wanted = ("RGB",) if item["decode"] == "ok" else ("413", "415", "422")
        if item["decode"] == "ok" and item["format"] not in (*KINDS, "MPO"):
            wanted = ("415",)
        if outcome not in wanted:
            surprises[item["path"]] = (outcome, item["decode"])
    assert len(listed) >= 143
    assert surprises == {}
