"""A bundle's folder that is whole or stays as it was."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.manifest import MANIFEST_FILE, BundleError, read_bundle
from model.errors import InputError

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Linux, <linux/fcntl.h> and <linux/fs.h>: renameat2(2) swaps two paths in one step."""


@contextmanager
def whole_bundle(out: Path) -> Iterator[Path]:
    """An empty folder to write a bundle into: it becomes `out` when the block ends well.

    When it doesn't, nothing is left behind and an old bundle stays as it was; a kill at any moment
    leaves the old one or the new one, whole. Makes the parents.
    Raises InputError, before anything is written, unless `out` is new, an empty folder, or a bundle
    and nothing else.
    """
    out = out.resolve()  # of a link to a bundle, the bundle is replaced and the link stays
    _restore(out)
    check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    except OSError as error:
        raise InputError(f"{out}: can't be written here ({error.strerror})") from None
    try:
        yield work
        for path in work.iterdir():
            _sync(path)
        work.chmod(0o755)
        _replace(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """InputError unless `out` is new, an empty folder, or a bundle and nothing else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file: --out names the bundle's folder")
    held = {path.name for path in out.iterdir()}
    if not held:
        return
    try:
        manifest = read_bundle(out).manifest
    except BundleError:
        raise InputError(f"{out} is not empty and holds no bundle: choose another --out") from None
    if foreign := sorted(held - {MANIFEST_FILE, *(graph.file for graph in manifest.graphs)}):
        raise InputError(
            f"{out} holds {foreign[0]}, which is no part of the bundle and would be lost: "
            "move it away or choose another --out"
        )


def _replace(work: Path, out: Path) -> None:
    """Puts the finished folder in place of the old one, which takes its place or is gone."""
    if not out.exists():
        work.rename(out)
    elif not _exchanged(work, out):
        old = _aside(out)
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
        try:
            work.rename(out)
        except BaseException:
            old.rename(out)
            raise
        shutil.rmtree(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Swaps two folders in one step; False where the system or the file system can't."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "renameat2"):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    failed: int = libc.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE)
    return not failed


def _restore(out: Path) -> None:
    """Puts a bundle back that a kill left aside, where folders can't be swapped."""
    if _aside(out).is_dir() and not out.exists():
        _aside(out).rename(out)


def _aside(out: Path) -> Path:
    return out.with_name(f".{out.name}-old")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
