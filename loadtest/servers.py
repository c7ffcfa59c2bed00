"""A server in a process of its own, for measuring it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Self

from model.errors import InputError

READY = "is ready on "
STOP_S = 60.0


class Server:
    """`python -m MODULE ARGUMENTS`, which may be started again once it has ended.

    As a context manager it runs for the block. That it is ready is all that it says on stdout; its
    log goes to this process's stderr from level warning on.
    """

    process: subprocess.Popen[str]
    url: str
    """Where it answers; like `process`, known once it was started."""

    def __init__(
        self,
        *arguments: str,
        module: str = "retinaserve serve",
        port: int = 0,
        env: Mapping[str, str] = {},
        python: str = sys.executable,
    ) -> None:
        self._command = [python, "-m", *module.split(), *arguments]
        self._command += ["--port", str(port), "--log-level", "warning"]
        self._env = os.environ | env
        self.port = port

    @property
    def detect_url(self) -> str:
        """Where pictures go."""
        return f"{self.url}/v1/detect"

    def start(self) -> None:
        """Returns when it says that it is ready. Raises InputError if it ends before."""
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, env=self._env
        )
        try:
            self.url = self._url()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int:
        """The exit status after SIGTERM; -9 if it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """The exit status of what is left of it, if anything is."""
        self.process.kill()
        return self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url(self) -> str:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            for line in said:
                if READY in line:
                    return line.split(READY, 1)[1].split(";", 1)[0].strip()
        raise InputError(f"the server ended with status {self.process.wait()} before it was ready")
