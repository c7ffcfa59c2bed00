"""`retinaserve serve` that starts when it may, and whose next bundle hangs.

python hanging_server.py FOLDER: its bundle opens once something is written to the pipe FOLDER/gate,
and FOLDER/opening is there while it waits; the one after that hangs in its first run. The settings,
the server and its signals are the real ones.
"""

import argparse
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from service.cli import serve
from service.reload import Candidate
from tests.service.fakes import FakeSession, make_manifest


def hang(_: Any) -> None:
    threading.Event().wait()


def main(folder: Path) -> int:
    def open_first(*_: Any, **__: Any) -> FakeSession:
        (folder / "opening").touch()
        (folder / "gate").read_text()
        return FakeSession()

    def open_next(_: Path) -> Candidate:
        return Candidate(FakeSession(make_manifest(version="2"), hang), [])

    parser = argparse.ArgumentParser()
    serve.configure(parser)
    with (
        mock.patch("service.cli.serve.open_session", open_first),
        mock.patch("service.reload.opener_of", return_value=open_next),
    ):
        return serve.run(parser.parse_args(["--port", "0"]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
