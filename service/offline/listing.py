"""The names of picture files, one after the other: a list of millions would fill the memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from model.errors import InputError
from model.pictures import PICTURE_SUFFIXES


def list_pictures(given: Sequence[Path]) -> Iterator[str]:
    """The names and the order of `service.cli.detect.find_pictures`, each name once.

    In memory are the names of one folder and those above it, or all where what is given overlaps.
    Raises InputError for a path that does not exist and a folder without pictures.
    """
    seen: set[str] | None = set() if _overlap(given) else None
    for path in given:
        if not path.exists():
            raise InputError(f"{path}: no such picture or folder")
        for name in _pictures_in(path) if path.is_dir() else [str(path)]:
            if seen is None:
                yield name
            elif name not in seen:
                seen.add(name)
                yield name


def joined(folder: str, name: str) -> str:
    """The name below the folder, or by itself if it starts at the root."""
    return os.path.join(folder, name)  # noqa: PTH118, a Path takes five times as long


def _overlap(given: Sequence[Path]) -> bool:
    every = set(given)
    return len(every) < len(given) or any(every & set(path.parents) for path in given)


def _pictures_in(folder: Path) -> Iterator[str]:
    # Without "./" before the names in the current folder, as pathlib has them.
    names = _walk(str(folder) if folder.parts else "")
    first = next(names, None)
    if first is None:
        raise InputError(
            f"{folder}: no picture in this folder; looked for {', '.join(PICTURE_SUFFIXES)}"
        )
    yield first
    yield from names


def _walk(folder: str) -> Iterator[str]:
    """The pictures below, as sorted paths come: what is in `a/` before `a-b.jpg`."""
    names, folders = [], set()
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.add(entry.name)
                    names.append(entry.name)
                elif _looks_like_picture(entry):
                    names.append(entry.name)
    except PermissionError:  # passed over, as by Path.rglob
        return
    for name in sorted(names):
        path = joined(folder, name)
        if name in folders:
            yield from _walk(path)
        else:
            yield path


def _looks_like_picture(entry: os.DirEntry[str]) -> bool:
    if Path(entry.name).suffix.lower() not in PICTURE_SUFFIXES:
        return False
    # Only a link costs another question to the file system.
    return Path(entry).is_file() if entry.is_symlink() else entry.is_file()
