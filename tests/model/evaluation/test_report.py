"""The report folder: what is in it, and that its page shows it and needs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from model.data.records import DataSet, Record, as_coco
from model.errors import InputError
from model.evaluation.assessment import assess
from model.evaluation.coco_metrics import METRICS
from model.evaluation.outcomes import outcome_of
from model.evaluation.picture import picture_svg
from model.evaluation.plots import until_reached
from model.evaluation.report import MEANING, check_report_folder, write_report
from model.page.folder import generator
from model.page.markup import tag, write_html
from tests.model.evaluation.detections import found

CLASSES = ("<b>cat", "$x_2$ & 犬", "cow")
SVG = "{http://www.w3.org/2000/svg}"


def record(path: Path, image_id: int, boxes: list[list[float]], classes: list[int]) -> Record:
    Image.new("RGB", (320, 160), (90, 120, 200)).save(path)
    return Record(
        image_id,
        path,
        (160, 320),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array([[280, 0, 320, 40]], np.float32),
    )


A, B, FAR = [10.0, 10.0, 60.0, 60.0], [100.0, 10.0, 160.0, 60.0], [200.0, 100.0, 260.0, 150.0]


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    folder = tmp_path / "images"
    folder.mkdir()
    records = [
        record(folder / "good.png", 1, [A], [0]),
        record(folder / "<i>bad&.png", 2, [A, B], [0, 1]),
    ]
    return DataSet("two", CLASSES, records, as_coco([(r, r.source.name) for r in records], CLASSES))


DETECTIONS = {
    1: found((A, 0.9, 0)),
    2: found((A, 0.8, 1), (FAR, 0.7, 0), ([285, 5, 315, 35], 0.6, 0)),
}


def written(data: DataSet, out: Path, worst: int = 12, **options: Any) -> str:
    assessment = assess(data, DETECTIONS, 0.5)
    document = {"subject": {"subject": "<u>x.pt", "scale": "480"}, **assessment.document()}
    return write_report(out, assessment, DETECTIONS, document, worst).read_text(encoding="utf-8")


def test_folder_holds_the_page_and_its_parts(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "report"
    written(data, out)
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert files == [
        "detections.json",
        "index.html",
        "metrics.json",
        "plots/class-0.svg",
        "plots/class-1.svg",
        "plots/class-2.svg",
        "plots/confusion.svg",
        "worst/01.svg",
    ]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["subject"] == {"subject": "<u>x.pt", "scale": "480"}
    assert metrics["AP50"] == pytest.approx(0.2525, abs=1e-4)
    detections = json.loads((out / "detections.json").read_text())
    assert detections[0] == {
        "image_id": 1,
        "category_id": 1,
        "bbox": [10.0, 10.0, 50.0, 50.0],
        "score": pytest.approx(0.9),
    }


def test_every_metric_is_explained() -> None:
    assert tuple(MEANING) == METRICS


def test_page_escapes_names_and_needs_nothing_from_elsewhere(data: DataSet, tmp_path: Path) -> None:
    page = written(data, tmp_path / "report")
    for name in ("<b>cat", "<i>bad&", "<u>x.pt"):
        assert name not in page
    for name in ("&lt;b&gt;cat", "&lt;i&gt;bad&amp;.png", "&lt;u&gt;x.pt", "犬"):
        assert name in page
    assert "<script" not in page
    addresses = set(re.findall(r'(?:src|href)="([^"]{0,20})', page))
    assert {address.split(":")[0] for address in addresses} == {"data", "#picture-0"}
    assert "url(" not in page


def test_page_shows_the_threshold_and_the_errors(data: DataSet, tmp_path: Path) -> None:
    page = written(data, tmp_path / "report")
    assert "Detections with a score above 0.5." in page
    assert "1 of 2 images have an error" in page
    assert "3 errors: 1 wrong class, 1 background, 1 missed" in page


def test_no_worst_images_if_none_are_asked_for(data: DataSet, tmp_path: Path) -> None:
    page = written(data, tmp_path / "report", worst=0)
    assert not (tmp_path / "report" / "worst").exists()
    assert "none is shown" in page


def test_plots_say_names_as_they_are(data: DataSet, tmp_path: Path) -> None:
    written(data, tmp_path / "report")
    confusion = ElementTree.parse(tmp_path / "report" / "plots" / "confusion.svg")
    texts = ["".join(text.itertext()) for text in confusion.iter(f"{SVG}text")]
    assert texts == [*CLASSES, "missed", "found as", *CLASSES, "background", "labelled as",
                     "1", "1", "1", "1"]  # fmt: skip


def test_earlier_report_is_replaced_whole(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "report"
    written(data, out)
    (out / "worst" / "09.svg").touch()
    (out / "metrics.json").write_text("{}")
    written(data, out)
    assert [path.name for path in (out / "worst").iterdir()] == ["01.svg"]
    assert (out / "metrics.json").stat().st_size > 1000


def test_folder_with_anything_else_is_refused(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "report"
    written(data, out)
    (out / "thesis.docx").touch()
    with pytest.raises(InputError, match=r"holds thesis.docx, which retinaserve evaluate did not"):
        check_report_folder(out)
    with pytest.raises(InputError, match="is a file: --report names a folder"):
        check_report_folder(out / "thesis.docx")
    check_report_folder(tmp_path / "new")


def test_page_of_another_command_is_not_replaced(data: DataSet, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    write_html(page, tag("html", tag("head", generator("retinaserve doctor"))))
    before = page.read_bytes()
    said = r"index.html was not written by retinaserve evaluate, .* choose another --report"
    with pytest.raises(InputError, match=said):
        written(data, tmp_path)
    assert page.read_bytes() == before
    assert not (tmp_path / "metrics.json").exists()


def test_precision_ends_where_no_threshold_reaches_the_recall() -> None:
    row = np.array([1.0, 0.0, 0.5, 0.0, 0.0])
    np.testing.assert_equal(until_reached(row), [1.0, 0.0, 0.5, np.nan, np.nan])
    assert np.isnan(until_reached(np.zeros(3))).all()


def test_labels_of_a_weak_model_do_not_hide_each_other(data: DataSet) -> None:
    crowded = [([10.0 + i, 10.0, 60.0 + i, 60.0], 0.9 - i / 100, 1) for i in range(9)]
    apart = (FAR, 0.1, 0)
    svg = picture_svg(outcome_of(data.records[0], found(*crowded, apart), 0.05), CLASSES, 0)
    boxes = [rect for rect in svg.iter("rect") if rect.find("title") is not None]
    assert len(boxes) == 2 + 10  # a label, a crowd region, and every detection
    texts = [text.text for text in svg.iter("text")]
    assert sorted(texts) == ["$x_2$ & 犬 0.90", "<b>cat", "<b>cat 0.10"]


def test_drawing_tells_every_box_and_its_outcome(data: DataSet) -> None:
    bad = data.records[1]
    svg = picture_svg(outcome_of(bad, DETECTIONS[2], 0.5), CLASSES, 3)
    assert [title.text for title in svg.iter("title")] == [
        "crowd region: detections here are not counted",
        "<b>cat, found as $x_2$ & 犬",
        "$x_2$ & 犬: missed",
        "<b>cat 0.60: ignored",
        "<b>cat 0.70: background",
        "$x_2$ & 犬 0.80: wrong class, labelled <b>cat",
    ]
    assert [text.text for text in svg.iter("text")] == [
        "$x_2$ & 犬",
        "<b>cat",
        "$x_2$ & 犬 0.80",
        "<b>cat 0.70",
        "0.60",
    ]
    # 320 x 160 image pixels are drawn twice as large.
    first = next(rect for rect in svg.iter("rect"))
    assert [first.get(key) for key in ("x", "y", "width", "height")] == [
        "560.0", "0.0", "80.0", "80.0"
    ]  # fmt: skip
    assert next(svg.iter("image")).get("href", "").startswith("data:image/jpeg;base64,")
