from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.errors import InputError
from model.files import alone, whole_file

ROOT = Path(__file__).parents[2]


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


HOLD = """
import sys, time
from pathlib import Path
from model.files import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_keeps_others_out_until_its_process_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        waited = []

        def kill() -> None:
            waited.append(holder.poll())
            holder.kill()

        with alone(lock, kill):
            pass
        with alone(lock, lambda: pytest.fail("nobody holds it")):
            pass
    assert waited == [None]


def test_where_files_can_not_be_locked_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(InputError, match=r"lock: files can't be locked here \(No locks available\)"),
        alone(tmp_path / "lock"),
    ):
        pass
