"""Picture files: missing, broken, turned, copied, of another size."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from model.doctor.catalogue import Severity
from model.doctor.picture_checks import look_at
from tests.exif import exif_of
from tests.model.doctor.small_set import by_code, examined, good_labels, write_set


def turned(path: Path, size: tuple[int, int], orientation: int) -> None:
    """Writes a picture of (width, height) as stored, with an EXIF orientation."""
    Image.new("RGB", size, "purple").save(path, exif=exif_of(orientation))


@pytest.mark.parametrize(
    ("stored", "orientation", "code"),
    [
        ((64, 96), 6, "exif-turned"),
        ((64, 96), 8, "exif-turned"),
        ((96, 64), 6, "exif-labels-unturned"),
        ((96, 64), 3, "exif-unclear"),
        ((96, 64), 2, "exif-unclear"),
        ((96, 64), 1, None),
        ((96, 64), 9, None),
        ((60, 90), 6, "picture-size-differs"),
    ],
)
def test_exif_is_told_by_the_labelled_size(
    tmp_path: Path, stored: tuple[int, int], orientation: int, code: str | None
) -> None:
    """The labels say 96x64."""
    path = write_set(tmp_path)
    turned(tmp_path / "images" / "a.png", stored, orientation)
    found = by_code(examined(path))
    assert set(found) == ({code} if code else set())


def test_turned_square_picture_is_unclear(tmp_path: Path) -> None:
    labels = good_labels()
    labels["images"][0].update(width=96, height=96)
    path = write_set(tmp_path, labels)
    turned(tmp_path / "images" / "a.png", (96, 96), 6)
    assert set(by_code(examined(path))) == {"exif-unclear"}


def test_missing_picture_is_told_with_what_is_there(tmp_path: Path) -> None:
    labels = good_labels()
    for entry, name in zip(labels["images"], ("A.PNG", "b.jpg", "cc.png"), strict=True):
        entry["file_name"] = name
    found = by_code(examined(write_set(tmp_path, labels)))
    assert found["picture-missing"].examples == [
        "A.PNG (there is a.png)",
        "b.jpg (there is b.png)",
        "cc.png (there is c.png)",
    ]


@pytest.mark.parametrize("keep", [0, 8, 100, -4])
def test_broken_picture_is_found(tmp_path: Path, keep: int) -> None:
    path = write_set(tmp_path)
    picture = tmp_path / "images" / "a.png"
    whole = Image.effect_noise((96, 64), 50).convert("RGB")
    whole.save(picture)
    picture.write_bytes(picture.read_bytes()[:keep] if keep >= 0 else b"not a picture")
    found = by_code(examined(path))
    assert found["picture-unreadable"].severity is Severity.ERROR
    assert found["picture-unreadable"].examples[0].startswith("a.png: not a picture")


def test_pictures_not_sampled_are_not_decoded(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    for picture in (tmp_path / "images").iterdir():
        Image.effect_noise((96, 64), 50).convert("RGB").save(picture)
        picture.write_bytes(picture.read_bytes()[:5000])
    found = by_code(examined(path, sample=1))
    assert found["picture-unreadable"].count == 1
    assert found["pictures-sampled"].count == 2


def test_copies_are_found_by_content(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    shutil.copy(tmp_path / "images" / "a.png", tmp_path / "images" / "b.png")
    assert by_code(examined(path))["picture-copied"].examples == ["a.png = b.png"]


def test_pictures_beside_labelled_ones_are_counted(tmp_path: Path) -> None:
    labels = good_labels()
    labels["images"][2]["file_name"] = "sub/c.png"
    path = write_set(tmp_path, labels)
    images = tmp_path / "images"
    for folder in ("sub", "elsewhere"):
        (images / folder).mkdir()
    (images / "c.png").rename(images / "sub" / "c.png")
    for name in ("d.png", "sub/e.JPG", "elsewhere/f.png", "notes.txt"):
        shutil.copy(images / "a.png", images / name)
    finding = by_code(examined(path))["picture-without-labels"]
    assert finding.examples == [str(images / "d.png"), str(images / "sub" / "e.JPG")]
    assert "40%" in finding.sentence


def test_missing_picture_is_found_in_a_sub_folder(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    (tmp_path / "images" / "train").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).rename(tmp_path / "images" / "train" / name)
    found = by_code(examined(path))["picture-missing"]
    assert found.examples == ["a.png (there is train/a.png)", "b.png (there is train/b.png)"]


def test_real_awkward_files_stop_nothing(awkward: Path) -> None:
    """Every file of the collection: readable or a fault, in order, and no exception."""
    paths = sorted(path for path in awkward.rglob("*") if path.is_file())
    files = list(look_at(paths, range(len(paths))))
    assert len(files) == len(paths)
    assert {bool(file.fault) for file in files} == {True, False}
    assert {file.orientation for file in files} >= set(range(1, 9))
