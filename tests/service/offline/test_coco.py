from __future__ import annotations

import json

from service.offline.coco import categories_of, write_coco
from service.offline.sources import Category

CLASSES = ("Platelets", "RBC", "WBC")


def found(*boxes: tuple[list[float], float, int]) -> list[dict[str, object]]:
    return [{"box": box, "score": score, "class_index": index} for box, score, index in boxes]


def test_categories_have_the_ids_that_are_given_for_their_names():
    given = [Category(id=9, name="WBC"), Category(id=4, name="dog")]
    assert categories_of(CLASSES, given) == [
        {"id": 10, "name": "Platelets"},
        {"id": 11, "name": "RBC"},
        {"id": 9, "name": "WBC"},
    ]
    assert [category["id"] for category in categories_of(CLASSES, [])] == [1, 2, 3]


def test_images_and_annotations(tmp_path):
    image = {"width": 40, "height": 30}
    rows = [
        {"image_id": 7, "file": "a.jpg", "image": image, "problem": None,
         "detections": found(([0.1, 0.2, 40.0, 30.0], 0.9, 1), ([1.0, 2.0, 3.0, 5.0], 0.5, 0))},
        {"image_id": 8, "file": "b.jpg", "image": None, "problem": {}, "detections": None},
        {"image_id": 9, "file": "c.jpg", "image": image, "problem": None,
         "detections": found(([0.0, 0.0, 1.0, 1.0], 0.4, 2))},
    ]  # fmt: skip
    write_coco(tmp_path / "coco.json", lambda: rows, categories_of(CLASSES, []))
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert coco["images"] == [
        {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": 9, "file_name": "c.jpg", "width": 40, "height": 30},
    ]
    assert coco["categories"][2] == {"id": 3, "name": "WBC"}
    first, second, third = coco["annotations"]
    assert first == {
        "id": 1, "image_id": 7, "category_id": 2, "bbox": [0.1, 0.2, 39.9, 29.8],
        "area": 1189.02, "iscrowd": 0, "score": 0.9,
    }  # fmt: skip
    assert (second["id"], second["bbox"], second["area"]) == (2, [1.0, 2.0, 2.0, 3.0], 6.0)
    assert (third["id"], third["image_id"], third["category_id"]) == (3, 9, 3)


def test_nothing_at_all_is_a_coco_json_too(tmp_path):
    write_coco(tmp_path / "coco.json", list, [])
    expected = {"images": [], "annotations": [], "categories": []}
    assert json.loads((tmp_path / "coco.json").read_text()) == expected
