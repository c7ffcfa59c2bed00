"""Packages that a test needs and the project does not: each in a folder of its own, kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


def installed(cache: pytest.Cache, *packages: str) -> Path:
    """A folder with these packages (NAME==VERSION) alone; skips where pip can't get them."""
    folder = cache.mkdir("wheels") / "+".join(packages)
    if folder.is_dir():
        return folder
    work = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--only-binary", ":all:", "--target", work, *packages],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            pytest.skip(f"pip can't get {', '.join(packages)}: {''.join(last)}")
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder
