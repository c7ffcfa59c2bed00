"""Programs that come with the development packages."""

from __future__ import annotations

import shutil
import sysconfig


def tool(name: str) -> str:
    """The path of a program of this environment, whether or not that is on the PATH."""
    path = shutil.which(name, path=sysconfig.get_path("scripts"))
    assert path, f"{name} is not installed: the extra `dev` brings it"
    return path
