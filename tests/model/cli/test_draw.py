"""`retinaserve draw`: the files it leaves and its bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import retinaserve


def test_draw_leaves_pictures_and_their_boxes(tmp_path: Path) -> None:
    out = tmp_path / "drawn"
    assert retinaserve.main(["draw", "--out", str(out), "--count", "2", "--size", "96x128"]) == 0
    coco = json.loads((out / "annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [
        "drawn_00000.jpg",
        "drawn_00001.jpg",
    ]
    assert {path.name for path in (out / "images").iterdir()} == {
        "drawn_00000.jpg",
        "drawn_00001.jpg",
    }
    with Image.open(out / "images" / "drawn_00000.jpg") as picture:
        assert picture.size == (128, 96)


def test_seed_decides_the_scene(tmp_path: Path) -> None:
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        retinaserve.main(
            ["draw", "--out", str(tmp_path / folder), "--seed", seed, "--size", "96x128"]
        )
    first, same, other = (
        (tmp_path / folder / "images" / "drawn_00000.jpg").read_bytes() for folder in "abc"
    )
    assert first == same
    assert first != other


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count", "0"], "--count 0: accepted are whole numbers from 1"),
        (["--seed", "-1"], "--seed -1: accepted are whole numbers from 0"),
        (["--size", "480"], "--size '480': write HEIGHTxWIDTH, for example 480x640"),
        (["--size", "32x640"], "--size 32x640: accepted are sides from 64 to 8192"),
    ],
)
def test_bad_argument_is_one_sentence(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "drawn"
    assert retinaserve.main(["draw", "--out", str(out), *arguments]) == 2
    assert capsys.readouterr().err == f"retinaserve draw: {said}\n"
    assert not out.exists()
