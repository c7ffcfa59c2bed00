"""VOC folders read leniently: what training refuses is an error, and all of it is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from model.data.voc import read_voc
from model.doctor.catalogue import Severity
from model.errors import InputError
from tests.model.doctor.small_set import by_code, examined

OBJECT = (
    "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
PAGE = (
    "<annotation><filename>a.png</filename><size><width>96</width><height>64</height></size>"
    "{}</annotation>"
)
BOXES = [(x, y, x + 12, y + 16) for x in range(0, 70, 18) for y in (0, 20, 40)]


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A folder voc/ with one good file of twelve boxes, images/ beside it."""
    (tmp_path / "images").mkdir()
    (tmp_path / "voc").mkdir()
    Image.new("RGB", (96, 64)).save(tmp_path / "images" / "a.png")
    objects = "".join(OBJECT.format(*box) for box in BOXES)
    (tmp_path / "voc" / "a.xml").write_text(PAGE.format(objects))
    return tmp_path / "voc"


def test_good_folder_has_no_finding(voc: Path) -> None:
    exam = examined(voc)
    assert exam.findings == []
    assert (exam.classes, exam.boxes_of_class.tolist()) == (("cat",), [12])


REFUSED = {
    "not XML": ("<annotation>", "<annotation", "entry-malformed"),
    "no file name": ("<filename>a.png</filename>", "", "entry-malformed"),
    "no size": ("<width>96</width>", "", "entry-malformed"),
    "half a pixel": ("<width>96</width>", "<width>96.5</width>", "entry-malformed"),
    "infinite size": ("<width>96</width>", "<width>inf</width>", "entry-malformed"),
    "no name": ("<name>cat</name>", "", "entry-malformed"),
    "no corner": ("<xmin>0</xmin>", "", "entry-malformed"),
    "corner of letters": ("<xmin>0</xmin>", "<xmin>left</xmin>", "entry-malformed"),
    "corner NaN": ("<xmin>0</xmin>", "<xmin>nan</xmin>", "box-not-finite"),
    "no area": ("<xmax>12</xmax>", "<xmax>0</xmax>", "box-without-area"),
    "picture missing": ("a.png", "b.png", "picture-missing"),
    "other size": ("<width>96</width>", "<width>100</width>", "picture-size-differs"),
}


@pytest.mark.parametrize(("before", "after", "code"), REFUSED.values(), ids=REFUSED)
def test_what_training_refuses_is_an_error(voc: Path, before: str, after: str, code: str) -> None:
    good = (voc / "a.xml").read_text()
    assert before in good
    (voc / "z.xml").write_text(good.replace(before, after))
    (voc / "a.xml").write_text(PAGE.format("").replace("a.png", "c.png"))
    Image.new("RGB", (96, 64), "red").save(voc.parent / "images" / "c.png")
    found = by_code(examined(voc))
    assert found[code].severity is Severity.ERROR
    with pytest.raises(InputError):
        [record.picture() for record in read_voc(voc, voc.parent / "images").records]


def test_other_files_are_read_on(voc: Path) -> None:
    (voc / "b.xml").write_text("<oops")
    exam = examined(voc)
    assert exam.boxes_of_class.tolist() == [12]
    assert by_code(exam)["entry-malformed"].examples == [
        "b.xml: not an XML file (unclosed token: line 1, column 0)"
    ]


def test_picture_named_by_two_files_is_an_error(voc: Path) -> None:
    (voc / "b.xml").write_text((voc / "a.xml").read_text())
    assert by_code(examined(voc))["picture-listed-twice"].severity is Severity.ERROR


def test_difficult_objects_are_ignored(voc: Path) -> None:
    text = (voc / "a.xml").read_text().replace("<difficult>0", "<difficult>1", 2)
    (voc / "a.xml").write_text(text)
    exam = examined(voc)
    assert exam.boxes_of_class.tolist() == [10]
    assert by_code(exam)["boxes-crowd"].count == 2


@pytest.mark.parametrize("wrong", ["empty folder", "no such file"])
def test_nothing_to_examine_is_refused(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "voc"
    if wrong == "empty folder":
        path.mkdir()
    with pytest.raises(InputError, match=r"no VOC annotation|no such annotation file"):
        examined(path)
