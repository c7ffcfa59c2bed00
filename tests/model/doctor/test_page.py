"""The page: one file, whatever the names, with pictures of what was found."""

from __future__ import annotations

import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from model.doctor.gallery import walls_of
from model.doctor.page import report_page
from model.page.markup import write_html
from tests.exif import exif_of
from tests.model.doctor.small_set import examined, good_labels, write_set

NASTY = "<script>alert('&\"1\"')</script>`x`"


class Seen(HTMLParser):
    """Counts tags and collects text and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(path: Path, out: Path) -> Seen:
    exam = examined(path)
    write_html(out, report_page(exam, walls_of(exam)))
    return Seen(out.read_text(encoding="utf-8"))


def test_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    seen = page_of(write_set(tmp_path), tmp_path / "report" / "index.html")
    assert seen.tags["img"] > 0
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in seen.addresses)
    assert not seen.tags.keys() & {"script", "link", "iframe", "object"}


@pytest.mark.parametrize("name", [NASTY, "\ud800\udcff", "\x00\x1b[31m", "漢字" * 200])
def test_names_are_text_whatever_they_hold(tmp_path: Path, name: str) -> None:
    labels = good_labels()
    labels["categories"][0]["name"] = name
    labels["images"][0]["file_name"] = name
    labels["annotations"][0]["bbox"] = [1, 1, 0, 0]
    seen = page_of(write_set(tmp_path, labels), tmp_path / "index.html")
    assert not seen.tags["script"]
    assert seen.tags["table"]
    if name == NASTY:
        assert NASTY in seen.text


def test_findings_and_their_pictures_are_on_the_page(tmp_path: Path) -> None:
    labels = good_labels()
    labels["annotations"][0]["bbox"] = [1, 1, 0, 0]
    seen = page_of(write_set(tmp_path, labels), tmp_path / "index.html")
    text = " ".join(seen.text)
    assert "Boxes have no area" in text
    assert "a.png: cat box (1, 1, 1, 1)" in text
    assert "Boxes without area or outside the picture" in text


def test_category_ids_have_a_column_where_there_are_any(tmp_path: Path) -> None:
    page = " ".join(page_of(write_set(tmp_path), tmp_path / "index.html").text)
    assert "category id" in page
    voc = tmp_path / "voc"
    voc.mkdir()
    (voc / "a.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>96</width><height>64</height></size>"
        "<object><name>cat</name><bndbox><xmin>8</xmin><ymin>8</ymin><xmax>40</xmax>"
        "<ymax>40</ymax></bndbox></object></annotation>"
    )
    shutil.copytree(tmp_path / "images", voc / "images")
    page = " ".join(page_of(voc, tmp_path / "voc.html").text)
    assert "The head counts classes from 0" in page
    assert "category id" not in page


def test_walls_hold_what_their_titles_say(tmp_path: Path) -> None:
    labels = good_labels()
    labels["annotations"] += [
        {"id": 50, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 0]},
        {"id": 51, "image_id": 2, "category_id": 1, "bbox": [90, 50, 20, 5]},
        {"id": 52, "image_id": 3, "category_id": 1, "bbox": [1, 1, 1, 30]},
        {"id": 53, "image_id": 3, "category_id": 1, "bbox": [72, 0, 21, 16]},
    ]
    path = write_set(tmp_path, labels)
    Image.new("RGB", (64, 96)).save(tmp_path / "images" / "c.png", exif=exif_of(6))
    walls = {wall.title: wall.figures for wall in walls_of(examined(path))}
    names = {title: [figure.name for figure in figures] for title, figures in walls.items()}
    assert sorted(names.pop("Do the boxes sit on the objects?")) == ["a.png", "b.png", "c.png"]
    assert sorted(names.pop("Boxes that the anchors fit worst")) == ["a.png", "b.png", "c.png"]
    assert names == {
        "Boxes without area or outside the picture": ["a.png"],
        "Pictures turned by EXIF": ["c.png", "c.png"],
        "Tiny boxes": ["c.png"],
        "The same object twice": ["c.png"],
        "Boxes over the edge": ["b.png"],
        "The most crowded pictures": ["c.png", "a.png"],
    }


def test_broken_pictures_are_left_out_of_the_walls(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "images" / name).write_bytes(b"no picture")
    assert walls_of(examined(path)) == []
    page_of(path, tmp_path / "index.html")
