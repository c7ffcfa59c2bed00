"""Files that are whole or not there at all, and what identifies them. No torch here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError


@contextmanager
def whole_file(path: Path, mark: str = "") -> Iterator[Path]:
    """A path to write to: it becomes `path` when the block ends well, and is removed otherwise.

    A kill at any moment leaves the old file or the new one: the content is synced before it is
    renamed. Makes the folder; InputError if nothing can be written there. Where several may write
    the same file at a time, each needs a `mark` of its own.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    part = path.with_name(
        f".part-{mark}{path.name}"
    )  # the suffix stays: it tells Pillow the format
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise InputError(f"{path}: can't be written here ({error.strerror})") from None
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """No other process is inside a block of this lock file at the same time.

    `waits` is called where another is. The kernel lets go of the lock when a process ends, however
    it does; the file stays. InputError where files can't be locked.
    """
    import fcntl  # here, since Windows has none

    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waits()
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(f"{lock}: files can't be locked here ({error.strerror})") from None
        yield


def sha256_of(path: Path) -> str:
    """The file's SHA-256 as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
