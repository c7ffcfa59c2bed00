"""COCO files read leniently: what training refuses is an error, and all of it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from model.data.coco import read_coco
from model.doctor.catalogue import Severity
from model.errors import InputError
from tests.model.doctor.small_set import by_code, examined, good_labels, write_set


def test_good_set_has_no_finding(tmp_path: Path) -> None:
    exam = examined(write_set(tmp_path))
    assert exam.findings == []
    assert exam.boxes_of_class.tolist() == [12, 12]


def change(section: str, place: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda labels: labels[section][place].update(values)


def repeat(section: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda labels: labels[section].append({**labels[section][0], **values})


def drop(section: str, place: int, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda labels: labels[section][place].pop(key)


REFUSED = {
    "image without a name": (drop("images", 0, "file_name"), "entry-malformed"),
    "image without a width": (drop("images", 0, "width"), "entry-malformed"),
    "image of no height": (change("images", 0, height=0), "entry-malformed"),
    "image width as text": (change("images", 0, width="96"), "entry-malformed"),
    "image id as text": (change("images", 0, id="1"), "entry-malformed"),
    "image that is a list": (lambda c: c["images"].append([]), "entry-malformed"),
    "image id twice": (repeat("images", file_name="d.png"), "image-id-twice"),
    "picture twice": (repeat("images", id=9), "picture-listed-twice"),
    "picture missing": (change("images", 0, file_name="A.png"), "picture-missing"),
    "other size": (change("images", 0, width=97), "picture-size-differs"),
    "annotation of an unlisted image": (
        change("annotations", 0, image_id=99),
        "image-unlisted",
    ),
    "annotation of an unlisted category": (
        change("annotations", 0, category_id=0),
        "category-unlisted",
    ),
    "category id as text": (change("annotations", 0, category_id="1"), "entry-malformed"),
    "no bbox": (drop("annotations", 0, "bbox"), "entry-malformed"),
    "bbox of three": (change("annotations", 0, bbox=[1, 2, 3]), "entry-malformed"),
    "bbox of texts": (change("annotations", 0, bbox=["1", "2", "3", "4"]), "entry-malformed"),
    "bbox null": (change("annotations", 0, bbox=None), "entry-malformed"),
    "iscrowd 2": (change("annotations", 0, iscrowd=2), "entry-malformed"),
    "category id twice": (repeat("categories", name="cow"), "category-twice"),
    "category name twice": (repeat("categories", id=3), "category-twice"),
    "category without a name": (drop("categories", 0, "name"), "entry-malformed"),
    "no categories": (lambda c: c.pop("categories"), "entry-malformed"),
    "no annotations": (lambda c: c.pop("annotations"), "entry-malformed"),
    "NaN": (change("annotations", 0, bbox=[float("nan"), 2, 3, 4]), "box-not-finite"),
    "infinite": (change("annotations", 0, bbox=[1, 2, float("inf"), 4]), "box-not-finite"),
    "width 0": (change("annotations", 0, bbox=[1, 2, 0, 4]), "box-without-area"),
    "width negative": (change("annotations", 0, bbox=[9, 2, -3, 4]), "box-without-area"),
    "outside": (change("annotations", 0, bbox=[200, 2, 9, 9]), "box-outside"),
    "left of it": (change("annotations", 0, bbox=[-9, 2, 9, 9]), "box-outside"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "code"), REFUSED.values(), ids=REFUSED)
def test_what_training_refuses_is_an_error(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], code: str
) -> None:
    labels = good_labels()
    spoil(labels)
    path = write_set(tmp_path, labels)
    found = by_code(examined(path))
    assert found[code].severity is Severity.ERROR
    with pytest.raises(InputError):
        [record.picture() for record in read_coco(path, tmp_path / "images").records]


LEGAL = {
    "no boxes at all": (lambda c: c["annotations"].clear(),
                        {"boxes-missing", "pictures-empty", "class-without-boxes"}),
    "sparse ids": (lambda c: [e.update(id=7 * e["id"]) for e in c["categories"]]
                   + [e.update(category_id=7 * e["category_id"]) for e in c["annotations"]],
                   {"category-ids-sparse"}),
    "crowd": (change("annotations", 0, iscrowd=1), {"boxes-crowd"}),
    "annotation id twice": (repeat("annotations", bbox=[40, 50, 9, 9]), {"annotation-id-twice"}),
    "annotation without an id": (drop("annotations", 0, "id"), set()),
    "a pixel over the edge": (change("annotations", 0, bbox=[-1, 0, 30, 30]),
                              {"box-partly-outside"}),
    "the same box again": (repeat("annotations", id=99), {"box-twice"}),
    "nearly the same box again": (repeat("annotations", id=99, bbox=[0, 0, 12, 16.4]),
                                  {"box-nearly-twice"}),
    "of another class": (repeat("annotations", id=99, category_id=2), {"box-two-classes"}),
    "a hair": (change("annotations", 0, bbox=[0, 0, 1.3, 30]), {"box-tiny"}),
    "blank in a name": (change("categories", 0, name=" cat"), {"class-name-blanks"}),
    "names alike": (change("categories", 0, name="DOG"), {"class-name-case"}),
    "few of a class": (lambda c: [e.update(category_id=1) for e in c["annotations"][5:]],
                       {"class-rare"}),
    "none of a class": (lambda c: [e.update(category_id=1) for e in c["annotations"]],
                        {"class-without-boxes"}),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "codes"), LEGAL.values(), ids=LEGAL)
def test_what_training_takes_is_told_apart(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], codes: set[str]
) -> None:
    labels = good_labels()
    spoil(labels)
    path = write_set(tmp_path, labels)
    read_coco(path, tmp_path / "images")
    found = by_code(examined(path))
    assert set(found) == codes
    errors = {code for code, finding in found.items() if finding.severity is Severity.ERROR}
    assert errors == codes & {"boxes-missing"}


def test_every_fault_is_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    labels = good_labels()
    for entry in labels["annotations"][:10]:
        entry["bbox"] = [5, 6, 0, 9]
    labels["annotations"][11]["image_id"] = 77
    found = by_code(examined(write_set(tmp_path, labels)))
    finding = found["box-without-area"]
    assert finding.count == 10
    assert (
        finding.examples
        == ["a.png: cat box (5, 6, 5, 15)"] * 4 + ["a.png: dog box (5, 6, 5, 15)"] * 4
    )
    assert found["image-unlisted"].examples == ["annotations[11]: image_id 77"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a COCO JSON file"),
        ("[]", "holds a list, like a file of COCO results"),
        ("7", "it has no list 'images'"),
        ('{"images": 3}', "it has no list 'images'"),
        ('{"images": []}', "lists no pictures"),
        ('{"images": [true, {"id": 1}]}', "none of its 2 images is an object with a"),
        ("[" * 100_000, "not a COCO JSON file"),
    ],
)
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        examined(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_value_anywhere_stops_the_reading(tmp_path: Path, data: st.DataObject) -> None:
    labels = good_labels()
    for _ in range(data.draw(st.integers(1, 4))):
        section = data.draw(st.sampled_from(sorted(labels)))
        if not labels[section]:
            continue
        # The first picture stays whole: without any there is nothing to read.
        place = data.draw(st.integers(int(section == "images"), len(labels[section]) - 1))
        entry = labels[section][place]
        if not isinstance(entry, dict) or data.draw(st.booleans()):
            labels[section][place] = data.draw(json_values)
        else:
            entry[data.draw(st.sampled_from([*entry, "iscrowd"]))] = data.draw(json_values)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(labels))
    images = tmp_path / "images"
    if not images.exists():
        images.mkdir()
        Image.new("RGB", (96, 64)).save(images / "a.png")
    assert examined(path, sample=1).findings
