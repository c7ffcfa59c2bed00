"""Class names, counts, and pictures that seem to lack labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.doctor.class_checks import check_class_counts, check_class_names
from model.doctor.findings import Findings
from tests.model.doctor.small_set import by_code, examined, good_labels, write_set


def test_names_that_a_person_reads_alike() -> None:
    findings = Findings()
    check_class_names(["Red Cell", "redcell", "red  cell", "cell", "cells"], findings)
    (finding,) = findings
    assert (finding.code, finding.examples) == (
        "class-name-case",
        ["'Red Cell', 'redcell', 'red  cell'"],
    )


def test_few_boxes_are_fewer_than_ten() -> None:
    findings = Findings()
    check_class_counts(("a", "b", "c", "d"), np.array([0, 1, 9, 10]), findings)
    assert {f.code: f.examples for f in findings} == {
        "class-without-boxes": ["'a'"],
        "class-rare": ["'b': 1", "'c': 9"],
    }


def test_picture_with_far_fewer_boxes_than_usual_is_suspected(tmp_path: Path) -> None:
    labels = good_labels()
    kept = labels["annotations"]
    # Of the cats of the third picture one of four is left: as few as is suspect.
    kept[:] = [a for a in kept if (a["image_id"], a["category_id"]) != (3, 1) or a["id"] == 17]
    exam = examined(write_set(tmp_path, labels))
    finding = by_code(exam)["labels-partial"]
    assert finding.examples == ["c.png: 1 cat (the median is 4)"]
    assert '`partial_below = { "cat" = 2 }`' in finding.advice
    assert exam.data[0].scanty == [(2, 0)]


def test_half_as_many_boxes_are_no_suspicion(tmp_path: Path) -> None:
    labels = good_labels()
    labels["annotations"] = [a for a in labels["annotations"] if a["id"] not in (17, 18)]
    assert "labels-partial" not in by_code(examined(write_set(tmp_path, labels)))


def test_sparse_category_ids_are_mapped_in_their_order(tmp_path: Path) -> None:
    labels = good_labels()
    labels["categories"] = [{"id": 90, "name": "cat"}, {"id": 4, "name": "dog"}]
    for entry in labels["annotations"]:
        entry["category_id"] = {1: 90, 2: 4}[entry["category_id"]]
    exam = examined(write_set(tmp_path, labels))
    assert exam.classes == ("dog", "cat")
    assert exam.category_ids == {"dog": 4, "cat": 90}


def test_real_cells_without_their_red_ones_are_found(cells: Path) -> None:
    exam = examined(cells / "train.json", scale=480, sample=1)
    assert by_code(exam)["labels-partial"].count == 10
    assert by_code(exam)["box-without-area"].count == 1
