"""A bundle's folder that is whole or stays as it was."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.manifest import MANIFEST_FILE, BundleError, read_bundle
from model.errors import InputError


@contextmanager
def whole_bundle(out: Path) -> Iterator[Path]:
    """An empty folder to write a bundle into: it becomes `out` when the block ends well.

    When it doesn't, nothing is left behind and an old bundle stays as it was. Makes the parents.
    Raises InputError, before anything is written, unless `out` is new, an empty folder, or a bundle
    and nothing else.
    """
    out = out.resolve()  # of a link to a bundle, the bundle is replaced and the link stays
    _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        yield work
        _replace(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_replaceable(out: Path) -> None:
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
    """Puts the finished folder in place of the old one."""
    work.chmod(0o755)
    if not out.exists():
        work.rename(out)
        return
    old = out.with_name(f".{out.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    out.rename(old)
    try:
        work.rename(out)
    except BaseException:
        old.rename(out)
        raise
    shutil.rmtree(old)
