from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import InputError
from service.cli.detect import find_pictures
from service.offline.listing import list_pictures

FOUND = ["a/z.png", "a-b.jpg", "b.JPG", "deep/er/d.tiff", "link.jpg"]
"""Of the folder, in the order of paths: as text `a-b.jpg` is before `a/z.png`."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in/ with what is a picture and what is not; the test runs beside it."""
    monkeypatch.chdir(tmp_path)
    folder = Path("in")
    for name in (*FOUND[:-1], "note.txt", ".jpg", "a.jpg.bak", "outside/o.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "outside").rename("outside")
    (folder / "link.jpg").symlink_to("b.JPG")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "folder.png").mkdir()
    return folder


def test_pictures_of_a_folder_come_in_the_order_of_their_paths(folder, monkeypatch):
    assert list(list_pictures([folder])) == [f"in/{name}" for name in FOUND]
    assert [str(picture.path) for picture in find_pictures([folder])] == [
        f"in/{name}" for name in FOUND
    ]
    assert list(list_pictures([folder.absolute()])) == [f"{Path.cwd()}/in/{name}" for name in FOUND]
    monkeypatch.chdir(folder)
    assert list(list_pictures([Path()])) == FOUND


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["in/b.JPG", "in"], ["in/b.JPG", "in/a/z.png", "in/a-b.jpg", "in/deep/er/d.tiff"]),
        (["in/deep", "in/a", "in/deep"], ["in/deep/er/d.tiff", "in/a/z.png"]),
        (["in/note.txt", "in/a-b.jpg", "in/a-b.jpg"], ["in/note.txt", "in/a-b.jpg"]),
    ],
)
def test_what_is_given_twice_comes_once_where_it_was_first(folder, given, found):
    (folder / "link.jpg").unlink()
    paths = [Path(name) for name in given]
    assert list(list_pictures(paths)) == found
    assert [str(picture.path) for picture in find_pictures(paths)] == found


def test_what_has_no_picture_is_refused(folder):
    with pytest.raises(InputError, match="nowhere: no such picture or folder"):
        list(list_pictures([Path("nowhere")]))
    with pytest.raises(InputError, match=r"in/folder\.png: no picture in this folder; looked for"):
        list(list_pictures([folder / "folder.png"]))
