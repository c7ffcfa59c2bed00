"""A bundle's folder is replaced as a whole or left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import export.folder
from export.folder import whole_bundle
from export.manifest import Bundle, read_bundle, write_manifest
from model.errors import InputError


@pytest.fixture
def old(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """An older bundle at the place to write to; it is alone in its folder."""
    folder = tmp_path / "bundles" / "cells"
    shutil.copytree(tiny_bundle.folder, folder)
    return folder


def write_new(out: Path, bundle: Bundle) -> None:
    """A bundle without its graph files, of another name."""
    with whole_bundle(out) as folder:
        write_manifest(folder, bundle.manifest.model_copy(update={"name": "new"}))


def write_half(out: Path) -> None:
    with whole_bundle(out) as folder:
        (folder / "half.onnx").write_bytes(b"half")
        raise RuntimeError("half way")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refusal(out: Path) -> str:
    with pytest.raises(InputError) as error, whole_bundle(out):
        pytest.fail("let in")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_new_bundle_replaces_the_old(old: Path, tiny_bundle: Bundle) -> None:
    write_new(old, tiny_bundle)
    assert read_bundle(old).manifest.name == "new"
    assert [path.name for path in old.iterdir()] == ["manifest.json"]
    assert [path.name for path in old.parent.iterdir()] == ["cells"]
    assert old.stat().st_mode & 0o777 == 0o755


def test_parent_folders_are_made(tmp_path: Path, tiny_bundle: Bundle) -> None:
    write_new(tmp_path / "a" / "b", tiny_bundle)
    assert read_bundle(tmp_path / "a" / "b").manifest.name == "new"


def test_current_folder_may_be_the_bundle(
    tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_new(Path(), tiny_bundle)
    assert read_bundle(folder).manifest.name == "new"


def test_link_to_a_bundle_stays_a_link(old: Path, tiny_bundle: Bundle) -> None:
    link = old.parent / "current"
    link.symlink_to(old)
    write_new(link, tiny_bundle)
    assert link.is_symlink()
    assert read_bundle(old).manifest.name == "new"


def test_failure_leaves_the_old_bundle_and_nothing_else(old: Path) -> None:
    before = snapshot(old.parent)
    with pytest.raises(RuntimeError, match="half way"):
        write_half(old)
    assert snapshot(old.parent) == before
    assert [path.name for path in old.parent.iterdir()] == ["cells"]


def test_bundle_is_there_at_every_moment_of_its_replacement(
    old: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap is the one step that touches it: renaming would leave a moment without."""

    def fail(self: Path, target: Path) -> Path:
        raise OSError(f"{self} was renamed")

    monkeypatch.setattr(Path, "rename", fail)
    write_new(old, tiny_bundle)
    assert read_bundle(old).manifest.name == "new"
    assert [path.name for path in old.parent.iterdir()] == ["cells"]


@pytest.fixture
def no_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that can't swap two folders."""
    monkeypatch.setattr(export.folder, "_exchanged", lambda one, other: False)


@pytest.mark.usefixtures("no_swap")
def test_without_a_swap_the_new_bundle_replaces_the_old(old: Path, tiny_bundle: Bundle) -> None:
    write_new(old, tiny_bundle)
    assert read_bundle(old).manifest.name == "new"
    assert [path.name for path in old.parent.iterdir()] == ["cells"]


@pytest.mark.usefixtures("no_swap")
def test_old_bundle_comes_back_when_the_new_cannot_take_its_place(
    old: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if target == old and "-old" not in self.name:
            raise OSError("read-only file system")
        return rename(self, target)

    before = snapshot(old.parent)
    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OSError, match="read-only"):
        write_new(old, tiny_bundle)
    assert snapshot(old.parent) == before


def test_bundle_that_a_kill_left_aside_comes_back(old: Path) -> None:
    before = snapshot(old)
    old.rename(old.with_name(".cells-old"))
    with pytest.raises(RuntimeError, match="half way"):
        write_half(old)
    assert snapshot(old) == before
    assert [path.name for path in old.parent.iterdir()] == ["cells"]


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is not empty and holds no bundle: choose another --out" in refusal(tmp_path)
    assert snapshot(tmp_path) == {"thesis.txt": b"years of work"}


def test_folder_with_another_tools_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3}')
    assert "holds no bundle" in refusal(tmp_path)


def test_foreign_file_beside_the_bundle_is_refused(old: Path) -> None:
    (old / "notes.txt").write_text("mine")
    assert "holds notes.txt, which is no part of the bundle" in refusal(old)
    assert (old / "notes.txt").read_text() == "mine"


def test_file_as_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file: --out names the bundle's folder" in refusal(tmp_path / "file")
