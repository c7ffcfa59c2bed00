"""A recipe against its data: splits, class list, and settings."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from model.doctor.catalogue import Severity
from model.doctor.page import report_page
from tests.model.doctor.small_set import by_code, examined_by_recipe, good_labels, write_set


def recipe(folder: Path, **sections: Any) -> dict[str, Any]:
    """A recipe that fits `small_set`: train/ and val/ under the folder, of different pictures."""
    write_set(folder / "train")
    if not (folder / "val").exists():
        write_set(folder / "val")
        for name in ("a", "b", "c"):
            picture = folder / "val" / "images" / f"{name}.png"
            picture.write_bytes(picture.read_bytes() + b"other bytes, the same picture")
    raw: dict[str, Any] = {
        "name": "small",
        "model": {"backbone_weights": "imagenet"},
        "data": {
            "train": [_source(folder / "train")],
            "val": _source(folder / "val"),
        },
        "optimizer": {"lr": 0.002, "warmup_steps": 10},
        "train": {"steps": 100, "batch_size": 3, "scale": 192},
    }
    for name, values in sections.items():
        raw[name] = {**raw.get(name, {}), **values} if isinstance(values, dict) else values
    return raw


def _source(folder: Path) -> dict[str, Any]:
    return {"format": "coco", "annotations": folder / "labels.json", "images": folder / "images"}


def test_fitting_recipe_has_no_finding(tmp_path: Path) -> None:
    assert examined_by_recipe(recipe(tmp_path)).findings == []


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "rate of 16 images for 3": ({"optimizer": {"lr": 0.02}}, "recipe-advice"),
    "AdamW at SGD's rate": ({"optimizer": {"name": "adamw", "lr": 0.01}}, "recipe-adamw-rate"),
    "a single epoch": ({"train": {"steps": 1, "batch_size": 3}}, "recipe-few-epochs"),
    "more than there is": ({"train": {"batch_size": 5}}, "recipe-large-batch"),
    "prior of a half": ({"model": {"prior": 0.5}}, "recipe-prior"),
    "random backbone": ({"model": {"backbone_weights": None, "norm": "trained"}},
                        "recipe-backbone-random"),
    "random frozen backbone": ({"model": {"backbone_weights": None}}, "recipe-advice"),
    "no such weights": ({"model": {"backbone_weights": "nowhere.pth"}}, "recipe-file-missing"),
    "fixed canvas": ({"train": {"canvas": "192x192"}}, "recipe-canvas-crops"),
    "classes of others": ({"classes": ["cat", "cow"]}, "class-not-in-list"),
    "literal rule": ({"matching": {"low_quality": False}, "train": {"scale": 32}},
                     "anchors-missing"),
}  # fmt: skip


@pytest.mark.parametrize(("sections", "code"), SETTINGS.values(), ids=SETTINGS)
def test_setting_that_does_not_fit_is_found(
    tmp_path: Path, sections: dict[str, Any], code: str
) -> None:
    assert code in by_code(examined_by_recipe(recipe(tmp_path, **sections)))


def test_mirrored_left_is_found_and_brightness_is_not(tmp_path: Path) -> None:
    raw = recipe(tmp_path, classes=["cat", "dog", "arrow_LEFT", "brightness"])
    assert by_code(examined_by_recipe(raw))["recipe-flips-sides"].examples == ["'arrow_LEFT'"]
    raw["augment"] = {"flips": []}
    assert "recipe-flips-sides" not in by_code(examined_by_recipe(raw))


def test_class_that_train_lacks_is_an_error_of_val(tmp_path: Path) -> None:
    raw = recipe(tmp_path)
    labels = good_labels()
    labels["categories"].append({"id": 3, "name": "cow"})
    labels["annotations"][0]["category_id"] = 3
    write_set(tmp_path / "val", labels)
    finding = by_code(examined_by_recipe(raw))["class-not-in-list"]
    assert (finding.where, finding.severity) == ("val", Severity.ERROR)
    assert finding.examples == ["'cow': 1 boxes"]


def test_shared_picture_is_found_by_name(tmp_path: Path) -> None:
    raw = recipe(tmp_path)
    raw["data"]["val"]["images"] = tmp_path / "train" / "images"
    assert by_code(examined_by_recipe(raw))["val-in-train"].count == 3


def test_twin_in_val_is_found_by_content(tmp_path: Path) -> None:
    raw = recipe(tmp_path)
    shutil.copy(tmp_path / "train" / "images" / "a.png", tmp_path / "val" / "images" / "b.png")
    assert by_code(examined_by_recipe(raw))["val-copy-in-train"].examples == ["a.png = b.png"]


def test_bad_boxes_that_training_drops_are_a_warning(tmp_path: Path) -> None:
    raw = recipe(tmp_path)
    labels = good_labels()
    labels["annotations"][0]["bbox"] = [3, 3, 0, 0]
    write_set(tmp_path / "train", labels)
    assert by_code(examined_by_recipe(raw))["box-without-area"].severity is Severity.ERROR
    raw["data"]["train"][0]["bad_boxes"] = "drop"
    assert by_code(examined_by_recipe(raw))["box-without-area"].severity is Severity.WARNING


def test_coverage_counts_classes_over_several_sets(tmp_path: Path) -> None:
    """The second set lists its classes the other way round."""
    raw = recipe(tmp_path)
    labels = good_labels()
    labels["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    labels["annotations"] = [a for a in labels["annotations"] if a["category_id"] == 1]
    write_set(tmp_path / "more", labels)
    raw["data"]["train"].append(_source(tmp_path / "more"))
    exam = examined_by_recipe(raw)
    assert exam.classes == ("cat", "dog")
    assert exam.boxes_of_class.tolist() == [12, 24]
    assert exam.anchors is not None
    assert (exam.anchors.classes == 1).sum() == 24


def test_drawn_training_with_labelled_val_has_the_renderers_classes(tmp_path: Path) -> None:
    raw = recipe(tmp_path)
    labels = good_labels()
    for entry, name in zip(labels["categories"], ("RBC", "WBC"), strict=True):
        entry["name"] = name
    write_set(tmp_path / "val", labels)
    raw["data"]["train"] = [{"format": "drawn", "count": 100}]
    raw["train"]["steps"] = 1000
    exam = examined_by_recipe(raw)
    assert exam.classes == ("Platelets", "RBC", "WBC")
    assert exam.findings == []
    assert (exam.anchors, exam.pictures_of_class.tolist()) == (None, [0, 0, 0])
    report_page(exam, [])
