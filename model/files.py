"""Files that are whole or not there at all, and what identifies them. No torch here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to: it becomes `path` when the block ends well, and is removed otherwise.

    A kill at any moment leaves the old file or the new one: the content is synced before it is
    renamed. Makes the folder; InputError if nothing can be written there.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    part = path.with_name(f".part-{path.name}")  # the suffix stays: it tells Pillow the format
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


def sha256_of(path: Path) -> str:
    """The file's SHA-256 as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
