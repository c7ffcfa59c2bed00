"""Box formats that are not what the file means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.doctor.catalogue import Severity
from tests.model.doctor.small_set import HEIGHT, WIDTH, by_code, examined, good_labels, write_set


def with_boxes(change: Any) -> dict[str, Any]:
    labels = good_labels()
    for entry in labels["annotations"]:
        entry["bbox"] = change(*entry["bbox"])
    return labels


def test_corners_in_a_coco_file_are_recognised(tmp_path: Path) -> None:
    labels = with_boxes(lambda x, y, w, h: [x, y, x + w, y + h])
    found = by_code(examined(write_set(tmp_path, labels)))
    assert found["boxes-look-xyxy"].severity is Severity.ERROR
    assert found["boxes-look-xyxy"].count == 24


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y, w, h: [x, y, w, h],
        lambda x, y, w, h: [5 * x, y, w, h],
        # Boxes that reach far out, some of which would fit as corners.
        lambda x, y, w, h: [5 * x, 3 * y, 3 * w, h],
    ],
)
def test_sizes_in_a_coco_file_are_left_alone(tmp_path: Path, change: Any) -> None:
    found = by_code(examined(write_set(tmp_path, with_boxes(change))))
    assert not {code for code in found if code.startswith("boxes-look")}


def test_shares_of_the_picture_are_recognised(tmp_path: Path) -> None:
    labels = with_boxes(lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT])
    found = by_code(examined(write_set(tmp_path, labels)))
    assert found["boxes-look-normalised"].severity is Severity.ERROR


def test_sizes_in_a_voc_file_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    write_set(tmp_path)
    objects = "".join(
        f"<object><name>cat</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>20</xmax>"
        "<ymax>20</ymax></bndbox></object>"
        for x in (5, 30, 60)
        for y in (1, 40)
    )
    (tmp_path / "voc" / "a.xml").write_text(
        "<annotation><filename>a.png</filename>"
        f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{objects}</annotation>"
    )
    found = by_code(examined(tmp_path / "voc"))
    assert found["boxes-look-xywh"].severity is Severity.ERROR


def test_boxes_of_a_smaller_copy_are_suspected(tmp_path: Path) -> None:
    labels = with_boxes(lambda x, y, w, h: [x / 2, y / 2, w / 2, h / 2])
    labels["annotations"] *= 5
    found = by_code(examined(write_set(tmp_path, labels)))
    assert found["boxes-look-rescaled"].severity is Severity.NOTE
    assert "reaches past 48%" in found["boxes-look-rescaled"].sentence
