"""The Pascal VOC reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from model.data.voc import read_voc
from model.errors import InputError

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{0}</xmin>
<ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


def thing(name: str, *box: float, difficult: int = 0) -> str:
    return OBJECT.format(*box, name=name, difficult=difficult)


def write(folder: Path, stem: str, *objects: str, size: tuple[object, object] = (50, 100)) -> Path:
    path = folder / f"{stem}.xml"
    path.write_text(
        f"<annotation><filename>{stem}.png</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height></size>{''.join(objects)}</annotation>",
        encoding="utf-8",
    )
    Image.new("RGB", (100, 50)).save(folder / f"{stem}.png")
    return path


def test_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, "b", thing("dog", 1, 2, 30, 40))
    write(tmp_path, "a", thing("cat", 5, 6, 7.5, 8), thing("dog", 0, 0, 9, 9))
    data = read_voc(tmp_path, tmp_path)
    assert data.classes == ("cat", "dog")
    assert [record.source.name for record in data.records] == ["a.png", "b.png"]
    assert data.records[0].boxes.tolist() == [[5, 6, 7.5, 8], [0, 0, 9, 9]]
    assert data.records[0].classes.tolist() == [0, 1]


def test_first_pixel_one_means_inclusive_corners_from_one(tmp_path: Path) -> None:
    # One pixel, the top left one.
    write(tmp_path, "a", thing("cat", 1, 1, 1, 1))
    data = read_voc(tmp_path, tmp_path, first_pixel=1)
    assert data.records[0].boxes.tolist() == [[0, 0, 1, 1]]


def test_difficult_objects_are_ignored_regions(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("cat", 1, 2, 3, 4, difficult=1))
    data = read_voc(tmp_path, tmp_path)
    assert data.records[0].ignored.tolist() == [[1, 2, 3, 4]]
    assert len(data.records[0].boxes) == 0
    assert [note["iscrowd"] for note in data.coco["annotations"]] == [1]


def test_list_of_names_chooses_the_files(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        write(tmp_path, stem, thing("cat", 1, 2, 3, 4))
    (tmp_path / "val.txt").write_text("c  1\n\na -1\n")
    data = read_voc(tmp_path, tmp_path, names=tmp_path / "val.txt")
    assert [record.source.name for record in data.records] == ["c.png", "a.png"]


def test_picture_named_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("cat", 1, 2, 3, 4))
    (tmp_path / "train.txt").write_text("a\na\n")
    with pytest.raises(InputError, match=r"train\.txt: picture a\.png is listed twice"):
        read_voc(tmp_path, tmp_path, names=tmp_path / "train.txt")


def test_part_of_an_object_is_no_object(tmp_path: Path) -> None:
    head = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    write(tmp_path, "a", thing("person", 5, 6, 7, 8).replace("</object>", head))
    data = read_voc(tmp_path, tmp_path)
    assert data.classes == ("person",)
    assert data.records[0].boxes.tolist() == [[5, 6, 7, 8]]


def test_bad_box_is_refused_or_dropped(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("cat", 7, 7, 7, 9), thing("cat", 1, 2, 3, 4))
    with pytest.raises(InputError, match=r"a\.xml: cat box \(7\.0, 7\.0, 7\.0, 9\.0\)"):
        read_voc(tmp_path, tmp_path)
    data = read_voc(tmp_path, tmp_path, bad_boxes="drop")
    assert data.records[0].boxes.tolist() == [[1, 2, 3, 4]]
    assert [note["bbox"] for note in data.coco["annotations"]] == [[1, 2, 2, 2]]
    assert len(data.dropped) == 1


def test_unknown_class_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("cow", 1, 2, 3, 4))
    with pytest.raises(InputError, match=r"a\.xml: class 'cow'.*accepted are cat"):
        read_voc(tmp_path, tmp_path, ("cat",))


def test_missing_picture_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a", thing("cat", 1, 2, 3, 4))
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.xml: picture .*a\.png is missing"):
        read_voc(tmp_path, tmp_path)


def test_missing_number_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a", "<object><name>cat</name></object>")
    with pytest.raises(InputError, match=r"a\.xml: <object> has no <bndbox/xmin>"):
        read_voc(tmp_path, tmp_path)


def test_corner_that_is_no_number_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a", OBJECT.format("left", 1, 2, 3, name="cat", difficult=0))
    with pytest.raises(InputError, match=r"a\.xml: <bndbox/xmin> is 'left', not a number"):
        read_voc(tmp_path, tmp_path)


@pytest.mark.parametrize("width", [0, "nan", 10.5])
def test_size_must_be_whole_pixels(tmp_path: Path, width: object) -> None:
    write(tmp_path, "a", thing("cat", 1, 2, 3, 4), size=(50, width))
    with pytest.raises(InputError, match=r"a\.xml: <size/width> is .*whole pixels"):
        read_voc(tmp_path, tmp_path)


def test_broken_xml_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation>")
    with pytest.raises(InputError, match=r"a\.xml: not an XML file"):
        read_voc(tmp_path, tmp_path)


def test_folder_without_annotations_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no VOC annotation"):
        read_voc(tmp_path, tmp_path)


def test_list_that_names_a_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("ghost\n")
    with pytest.raises(InputError, match=r"ghost\.xml: no such annotation file"):
        read_voc(tmp_path, tmp_path, names=tmp_path / "val.txt")


def test_blood_cells_have_the_same_boxes_in_voc_and_coco(cells: Path) -> None:
    voc = read_voc(cells / "voc", cells / "images", bad_boxes="drop")
    assert voc.classes == ("Platelets", "RBC", "WBC")
    # 2,805 and 1,138 boxes in COCO, a point in each.
    assert sum(len(record.boxes) for record in voc.records) == 3941
