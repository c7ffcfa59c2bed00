"""A server of a test in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
FAKE = "tests.service.server_process"
"""A server with a fake session; its argument is how many seconds each run takes."""

Started = tuple[subprocess.Popen[str], str]


@contextmanager
def started(
    *command: str,
    within: tuple[str, ...] = (),
    stderr: int | IO[str] = subprocess.DEVNULL,
    **settings: object,
) -> Iterator[Started]:
    """`python -m COMMAND` with these settings, and its URL once it says that; killed in the end."""
    given = {f"RETINASERVE_{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [*within, sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = re.search(r"http://[\w.:]+", process.stdout.readline())
        assert url is not None
        yield process, url[0]
    finally:
        process.kill()
        process.communicate()
