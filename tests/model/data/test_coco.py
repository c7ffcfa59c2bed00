"""The COCO reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.data.coco import read_coco
from model.errors import InputError
from model.evaluation.coco_metrics import ImageDetections, coco_metrics


def labels() -> dict[str, Any]:
    """Two pictures, sparse category ids out of order."""
    return {
        "images": [
            {"id": 139, "file_name": "a.png", "width": 100, "height": 50},
            {"id": 7, "file_name": "b.png", "width": 20, "height": 20},
        ],
        "annotations": [
            {"id": 1, "image_id": 139, "category_id": 90, "bbox": [10, 20, 30, 5], "iscrowd": 0},
            {"id": 2, "image_id": 139, "category_id": 3, "bbox": [0.5, 0, 9.5, 10]},
            {"id": 3, "image_id": 139, "category_id": 3, "bbox": [50, 0, 50, 50], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "brush"}, {"id": 3, "name": "car"}],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (100, 50)).save(tmp_path / "a.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "b.png")
    return tmp_path


def write(folder: Path, coco: Any) -> Path:
    path = folder / "labels.json"
    path.write_text(json.dumps(coco), encoding="utf-8")
    return path


def test_sparse_category_ids_become_indices_in_id_order(folder: Path) -> None:
    data = read_coco(write(folder, labels()), folder)
    assert data.classes == ("car", "brush")
    assert data.records[0].classes.tolist() == [1, 0]


def test_boxes_are_xywh_without_plus_one(folder: Path) -> None:
    data = read_coco(write(folder, labels()), folder)
    assert data.records[0].boxes.tolist() == [[10, 20, 40, 25], [0.5, 0, 10, 10]]


def test_crowds_are_ignored_regions(folder: Path) -> None:
    data = read_coco(write(folder, labels()), folder)
    assert data.records[0].ignored.tolist() == [[50, 0, 100, 50]]


def test_picture_without_boxes_is_a_record(folder: Path) -> None:
    data = read_coco(write(folder, labels()), folder)
    assert [(r.image_id, len(r.boxes)) for r in data.records] == [(139, 2), (7, 0)]


def test_given_class_list_decides_the_indices(folder: Path) -> None:
    data = read_coco(write(folder, labels()), folder, ("cow", "brush", "car"))
    assert data.classes == ("cow", "brush", "car")
    assert data.records[0].classes.tolist() == [1, 2]


def test_label_outside_the_class_list_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="class 'brush' is not in the class list"):
        read_coco(write(folder, labels()), folder, ("car",))


def test_bad_box_names_file_and_picture(folder: Path) -> None:
    coco = labels()
    coco["annotations"][0]["bbox"] = [10, 20, 0, 5]
    with pytest.raises(InputError, match=r"labels\.json: a\.png: brush box \(10, 20, 10, 25\)"):
        read_coco(write(folder, coco), folder)


def test_bad_box_is_dropped_on_request(folder: Path) -> None:
    coco = labels()
    coco["annotations"][0]["bbox"] = [10, 20, float("nan"), 5]
    data = read_coco(write(folder, coco), folder, bad_boxes="drop")
    assert data.records[0].classes.tolist() == [0]
    assert len(data.dropped) == 1


def test_dropped_box_is_no_ground_truth_of_the_evaluation(folder: Path) -> None:
    coco = labels()
    coco["annotations"][0]["bbox"] = [10, 20, 0, 5]
    data = read_coco(write(folder, coco), folder, bad_boxes="drop")
    assert [note["bbox"] for note in data.coco["annotations"]] == [
        [0.5, 0, 9.5, 10],
        [50, 0, 50, 50],
    ]
    # Were it there, finding the other box of the class would give half an AP.
    coco["annotations"][0]["category_id"] = 3
    data = read_coco(write(folder, coco), folder, bad_boxes="drop")
    found = ImageDetections(
        np.array([[0.5, 0, 10, 10]], np.float32), np.array([0.9], np.float32), np.array([0])
    )
    assert coco_metrics(data.coco, data.classes, {139: found})["AP"] == 1.0


def test_evaluation_keeps_ids_crowds_and_boxes_beyond_the_picture(folder: Path) -> None:
    coco = labels()
    coco["annotations"][0].update(bbox=[90, 20, 30, 5], id=0)
    coco["annotations"][1].update(id=0)
    notes = read_coco(write(folder, coco), folder).coco["annotations"]
    assert [(n["id"], n["image_id"], n["category_id"], n["iscrowd"]) for n in notes] == [
        (1, 139, 90, 0),
        (2, 139, 3, 0),
        (3, 139, 3, 1),
    ]
    assert notes[0]["bbox"] == [90, 20, 30, 5]


@pytest.mark.parametrize(
    ("area", "kept"),
    [(120.5, 120.5), (0, 150), (-4, 150), (float("nan"), 150), (float("inf"), 150), (None, 150)],
)
def test_area_that_is_no_area_is_the_box(folder: Path, area: object, kept: float) -> None:
    coco = labels()
    coco["annotations"][0]["area"] = area
    data = read_coco(write(folder, coco), folder)
    assert data.coco["annotations"][0]["area"] == kept


def test_outlines_are_not_kept(folder: Path) -> None:
    coco = labels()
    coco["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6]]
    data = read_coco(write(folder, coco), folder)
    assert "segmentation" not in data.coco["annotations"][0]


def test_missing_picture_is_named(folder: Path) -> None:
    (folder / "b.png").unlink()
    with pytest.raises(InputError, match=r"labels\.json: picture .*b\.png is missing"):
        read_coco(write(folder, labels()), folder)


def changed(section: str, **entry: Any) -> dict[str, Any]:
    coco = labels()
    coco[section][0].update(entry)
    return coco


def lacking(section: str, key: str) -> dict[str, Any]:
    coco = labels()
    del coco[section][0][key]
    return coco


@pytest.mark.parametrize(
    ("coco", "message"),
    [
        ([], "no list 'images'"),
        ({"images": [], "annotations": []}, "no list 'categories'"),
        (lacking("images", "file_name"), r"images\[0\] has no 'file_name'"),
        (lacking("annotations", "bbox"), r"annotations\[0\] has no 'bbox'"),
        (changed("images", height=None), r"images\[0\] has height None"),
        (changed("annotations", bbox=[1, 2, 3]), r"annotations\[0\]: bbox must be"),
        (changed("annotations", bbox=[1, 2, 3, None]), r"annotations\[0\]: bbox must be"),
        (changed("annotations", image_id=5), "annotations of image id 5, which is not listed"),
        (changed("annotations", category_id=4), r"has category id 4; .* \[3, 90\]"),
        (changed("images", id=7), "image id 7 is listed twice"),
        (changed("images", id=True), r"images\[0\] has id True; accepted is a whole number"),
        (changed("images", file_name="b.png"), r"picture b\.png is listed twice"),
        (changed("images", width=0), r"images\[0\] is 0x50; accepted are pixels from 1"),
        (changed("categories", id=3), "category id 3 is listed twice"),
        (changed("categories", name="car"), "category car is listed twice"),
        (changed("annotations", iscrowd="0"), r"\[0\] has iscrowd '0'; accepted are 0 and 1"),
    ],
)
def test_malformed_labels_are_named(folder: Path, coco: Any, message: str) -> None:
    with pytest.raises(InputError, match=r"labels\.json: .*" + message):
        read_coco(write(folder, coco), folder)


def test_file_that_is_not_json_is_named(folder: Path) -> None:
    (folder / "cut.json").write_text('{"images": [')
    with pytest.raises(InputError, match=r"cut\.json: not a COCO JSON file"):
        read_coco(folder / "cut.json", folder)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: no such annotation file"):
        read_coco(tmp_path / "none.json", tmp_path)


def test_blood_cells_have_205_pictures_and_one_bad_box(cells: Path) -> None:
    data = read_coco(cells / "train.json", cells / "images", bad_boxes="drop")
    assert len(data.records) == 205
    assert data.classes == ("Platelets", "RBC", "WBC")
    # 2,805 boxes, one of them a point.
    assert sum(len(record.boxes) for record in data.records) == 2804
    assert len(data.dropped) == 1


def test_blood_cells_are_evaluated_without_their_bad_box(cells: Path) -> None:
    data = read_coco(cells / "val.json", cells / "images", bad_boxes="drop")
    # 1,138 boxes, one of them a point.
    assert len(data.coco["annotations"]) == 1137


def test_blood_cells_bad_box_is_refused_by_name(cells: Path) -> None:
    with pytest.raises(InputError, match=r"train\.json: .*\.jpg: RBC box \(181.*, 329"):
        read_coco(cells / "train.json", cells / "images")


def test_everyday_photos_have_sparse_ids(photos: Path) -> None:
    data = read_coco(photos / "instances.json", photos / "images")
    assert (len(data.records), len(data.classes)) == (300, 80)
    assert data.classes[0] == "person"
    assert data.classes[79] == "toothbrush"
