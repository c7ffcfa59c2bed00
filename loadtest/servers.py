"""A server in a process of its own, for measuring it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from model.errors import InputError

READY = "is ready on "
STOP_S = 30.0


@dataclass(frozen=True)
class RunningServer:
    """A server that said that it is ready."""

    url: str
    process: subprocess.Popen[str]

    @property
    def detect_url(self) -> str:
        """Where pictures go."""
        return f"{self.url}/v1/detect"


@contextmanager
def running_server(
    *arguments: str,
    module: Sequence[str] = ("retinaserve", "serve"),
    env: Mapping[str, str] = {},
) -> Iterator[RunningServer]:
    """`python -m MODULE ARGUMENTS --port 0`, once ready; told to end when the block does.

    The line that says so is all of its stdout. Its log goes to this process's stderr from level
    warning on. Raises InputError if it ends before it is ready.
    """
    command = [sys.executable, "-m", *module, *arguments, "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | env
    ) as process:
        try:
            yield RunningServer(_url_of(process), process)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if READY in line:
            return line.split(READY, 1)[1].split(";", 1)[0].strip()
    raise InputError(f"the server ended with status {process.wait()} before it was ready")
