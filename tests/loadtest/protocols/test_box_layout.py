from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.protocols.box_layout import BoxLayout, read_layout
from loadtest.protocols.protocol import Detection, Malformed
from model.errors import InputError

FOUND = [Detection((10.0, 20.0, 30.0, 40.0), "cat", 0.5)]


@pytest.mark.parametrize(
    ("layout", "answer"),
    [
        (
            {"detections": "predictions", "box": ["x", "y", "width", "height"],
             "format": "cxcywh", "label": "class", "score": "confidence"},
            {"predictions": [{"x": 25, "y": 40, "width": 30, "height": 40, "class": "cat",
                              "confidence": 0.5}]},
        ),
        (
            {"detections": "outputs.found", "format": "xywh"},
            {"outputs": {"found": [{"box": [10, 20, 30, 40], "label": "cat", "score": 0.5}]}},
        ),
        (
            {"detections": ""},
            [{"box": [10, 20, 40, 60], "label": "cat", "score": 0.5}],
        ),
    ],
)  # fmt: skip
def test_boxes_are_read_from_where_the_file_says(
    layout: dict[str, Any], answer: Any, tmp_path: Path
) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(layout))
    assert read_layout(file).read(json.dumps(answer).encode()) == FOUND


@pytest.mark.parametrize(
    "answer",
    [
        {"found": []},
        {"detections": 3},
        {"detections": None},
        {"detections": [{"box": [1, 2, 3], "label": "cat", "score": 0.5}]},
        {"detections": [{"box": [1, 2, 3, "x"], "label": "cat", "score": 0.5}]},
        {"detections": [{"box": [1, 2, 3, 4], "label": "cat"}]},
        {"detections": ["cat"]},
        [1],
    ],
)
def test_an_answer_of_another_shape_is_malformed(answer: Any) -> None:
    with pytest.raises(Malformed, match="no boxes where --boxes says"):
        BoxLayout().read(json.dumps(answer).encode())
    with pytest.raises(Malformed, match="not JSON"):
        BoxLayout().read(b"<html>")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"boxes": "a"}', "boxes: Extra inputs are not permitted; accepted are detections, box"),
        ('{"format": "yxyx"}', "format: Input should be 'xyxy', 'xywh' or 'cxcywh'"),
        ("{", "Invalid JSON"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    text: str, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_layout(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't be read \(No such file"):
        read_layout(tmp_path / "boxes.json")
