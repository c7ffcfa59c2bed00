"""The checks that every reader shares."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.records import Record, RecordBuilder, as_coco, class_index_of
from model.errors import InputError

# Height 50, width 100.
SIZE = (50, 100)


def test_box_is_clipped_to_the_picture() -> None:
    builder = RecordBuilder("a.jpg", SIZE, "refuse")
    builder.add((-5, -5, 120, 20), 1, False, "cat")
    record = builder.record(7, Path("a.jpg"))
    assert record.boxes.tolist() == [[0, 0, 100, 20]]
    assert record.classes.tolist() == [1]
    assert (record.image_id, record.size) == (7, SIZE)


def test_ignored_box_is_kept_apart() -> None:
    builder = RecordBuilder("a.jpg", SIZE, "refuse")
    builder.add((1, 2, 3, 4), 0, True, "cat")
    record = builder.record(1, Path("a.jpg"))
    assert record.ignored.tolist() == [[1, 2, 3, 4]]
    assert record.boxes.shape == (0, 4)
    assert record.classes.dtype == np.int64


BAD = [
    (10, 10, 10, 20),
    (10, 10, 5, 20),
    (10, 20, 20, 20),
    (100, 0, 120, 20),
    (-9, 0, 0, 20),
    (math.nan, 0, 10, 10),
    (0, 0, math.inf, 10),
]


@pytest.mark.parametrize("box", BAD)
def test_bad_box_is_refused_with_file_class_and_box(box: tuple[float, ...]) -> None:
    builder = RecordBuilder("labels.json: a.jpg", SIZE, "refuse")
    with pytest.raises(InputError) as caught:
        builder.add(box, 0, False, "cat")
    for part in ("labels.json: a.jpg", "cat", str(box), "100x50", 'bad_boxes = "drop"'):
        assert part in str(caught.value)


@pytest.mark.parametrize("box", BAD)
def test_bad_box_is_dropped_on_request_and_reported(box: tuple[float, ...]) -> None:
    builder = RecordBuilder("a.jpg", SIZE, "drop")
    assert not builder.add(box, 0, False, "cat")
    assert builder.add((0, 0, 5, 5), 0, False, "cat")
    assert builder.record(1, Path("a.jpg")).boxes.tolist() == [[0, 0, 5, 5]]
    assert len(builder.dropped) == 1
    assert "a.jpg: cat box" in builder.dropped[0]


def test_unknown_class_lists_the_accepted_ones() -> None:
    assert class_index_of("dog", ("cat", "dog"), "a.xml") == 1
    with pytest.raises(InputError, match=r"a\.xml: class 'cow'.*accepted are cat, dog"):
        class_index_of("cow", ("cat", "dog"), "a.xml")


def record_of(path: Path) -> Record:
    boxes = np.array([[1, 2, 4, 6]], np.float32)
    ignored = np.array([[10, 10, 20, 20]], np.float32)
    return Record(3, path, SIZE, boxes, np.array([1], np.int64), ignored)


def test_coco_dictionary_of_a_record() -> None:
    coco = as_coco([(record_of(Path("a.jpg")), "a.jpg")], ("cat", "dog"))
    assert coco["images"] == [{"id": 3, "file_name": "a.jpg", "width": 100, "height": 50}]
    assert coco["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    notes = [(n["id"], n["category_id"], n["bbox"], n["iscrowd"]) for n in coco["annotations"]]
    assert notes == [
        (1, 2, [1, 2, 3, 4], 0),
        (2, 1, [10, 10, 10, 10], 1),
        (3, 2, [10, 10, 10, 10], 1),
    ]
    assert coco["annotations"][0]["area"] == 12


def test_picture_of_another_size_than_its_labels_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (50, 100)).save(tmp_path / "turned.png")
    with pytest.raises(InputError, match=r"turned\.png: .* is 50x100, its labels are for 100x50"):
        record_of(tmp_path / "turned.png").picture()


def test_picture_of_the_right_size_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (100, 50)).save(tmp_path / "a.png")
    assert record_of(tmp_path / "a.png").picture().size == (100, 50)
