from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from model.errors import InputError
from model.files import whole_file


def test_finished_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    target.write_text("old")
    with whole_file(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    target.write_text("old")

    def write() -> None:
        with whole_file(target) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_content_is_on_disk_before_the_old_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def spy(*args: Any, name: str = name, original: Any = original) -> Any:
            done.append(name)
            return original(*args)

        monkeypatch.setattr(os, name, spy)
    with whole_file(tmp_path / "a.json") as part:
        part.write_text("{}")
    assert done == ["fsync", "replace"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a" / "b" / "c.txt") as part:
        part.write_text("deep")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "deep"


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"file/a\.json: can't be written here"),
        whole_file(tmp_path / "file" / "a.json"),
    ):
        pass
    with pytest.raises(InputError, match="is a folder; give a file"), whole_file(tmp_path):
        pass
