from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from loadtest.traffic.inputs import add_arguments, inputs_of
from model.errors import InputError
from service.pictures.images import read_upright
from tests.exif import exif_of
from tests.service.fakes import picture


def given(*arguments: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture(100 + number, 50))
    return tmp_path


def test_without_a_folder_scenes_of_many_sizes_are_drawn() -> None:
    inputs = inputs_of(given())
    assert {one.size for one in inputs.pictures} == {
        (120, 160), (480, 640), (640, 480), (300, 900), (1200, 1600)
    }  # fmt: skip
    assert len({one.data for one in inputs.pictures}) == len(inputs.pictures) == 10
    for one in inputs.pictures:
        upright = read_upright(one.data)
        assert (upright.height, upright.width) == one.size
    assert inputs.text.startswith("10 drawn scenes: 160x120 to 1600x1200 pixels, ")


def test_a_folder_gives_its_pictures(folder: Path) -> None:
    inputs = inputs_of(given("--images", folder))
    assert [(one.name, one.size, one.image_id) for one in inputs.pictures] == [
        (f"{number}.png", (50, 100 + number), None) for number in range(5)
    ]
    assert inputs.data is None
    assert inputs.text.startswith(f"5 of 5 in {folder}: 100x50 to 104x50 pixels")


def test_of_many_pictures_some_are_drawn_by_lot(folder: Path) -> None:
    arguments = given("--images", folder, "--most-pictures", "3")
    lots = [[one.name for one in inputs_of(arguments, seed).pictures] for seed in range(6)]
    assert all(len(set(lot)) == 3 for lot in lots)
    assert lots[0] == [one.name for one in inputs_of(arguments, 0).pictures]
    assert len({name for lot in lots for name in lot}) == 5


def test_pictures_are_as_large_as_they_are_upright(tmp_path: Path) -> None:
    # A camera held upright: its rows are the picture's columns.
    (tmp_path / "high.jpg").write_bytes(picture(80, 40, "JPEG", exif=exif_of(6)))
    (high,) = inputs_of(given("--images", tmp_path)).pictures
    assert high.size == (80, 40)


def test_labelled_pictures_have_their_ids(drawn: Path) -> None:
    inputs = inputs_of(given("--images", drawn / "images", "--data", drawn / "annotations.json"))
    assert [(one.name, one.image_id) for one in inputs.pictures] == [
        ("drawn_00000.jpg", 1), ("drawn_00001.jpg", 2), ("drawn_00002.jpg", 3)
    ]  # fmt: skip
    assert inputs.data is not None
    assert len(inputs.data.records) == 3


VOC = """<annotation><filename>one.png</filename>
<size><width>100</width><height>50</height><depth>3</depth></size>
<object><name>RBC</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>
</object></annotation>"""


def test_labels_may_be_voc_files(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(VOC)
    (tmp_path / "one.png").write_bytes(picture(100, 50))
    inputs = inputs_of(given("--images", tmp_path, "--data", tmp_path))
    (one,) = inputs.pictures
    assert inputs.data is not None
    assert (one.name, one.image_id) == ("one.png", inputs.data.records[0].image_id)
    assert inputs.data.classes == ("RBC",)


def test_labels_of_another_size_are_refused(drawn: Path, tmp_path: Path) -> None:
    labels = json.loads((drawn / "annotations.json").read_text())
    labels["images"][1]["width"] = 400
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(InputError, match=r"drawn_00001\.jpg: the upright picture is 320x240, its"):
        inputs_of(given("--images", drawn / "images", "--data", tmp_path / "labels.json"))


def test_labels_without_boxes_are_refused(drawn: Path, tmp_path: Path) -> None:
    labels = json.loads((drawn / "annotations.json").read_text())
    (tmp_path / "labels.json").write_text(json.dumps({**labels, "annotations": []}))
    with pytest.raises(InputError, match=r"labels\.json: no box to compare detections with"):
        inputs_of(given("--images", drawn / "images", "--data", tmp_path / "labels.json"))


def test_a_folder_without_pictures_says_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(InputError, match=r"no picture in this folder; looked for \.avif, \.bmp"):
        inputs_of(given("--images", tmp_path))
    with pytest.raises(InputError, match="nowhere: no such picture or folder"):
        inputs_of(given("--images", tmp_path / "nowhere"))


def test_a_picture_that_does_not_decode_is_named(folder: Path) -> None:
    (folder / "2.png").write_bytes(picture()[:200])
    with pytest.raises(InputError, match=r"2\.png: the PNG does not decode.*take it out"):
        inputs_of(given("--images", folder))


def test_labels_need_their_pictures(drawn: Path) -> None:
    with pytest.raises(InputError, match="--data needs --images DIR"):
        inputs_of(given("--data", drawn / "annotations.json"))
    with pytest.raises(InputError, match="--most-pictures 0: accepted are numbers from 1"):
        inputs_of(given("--most-pictures", "0"))
