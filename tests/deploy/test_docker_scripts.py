"""The two small programs of the images: what is installed, and whether the service is ready."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

DOCKER = Path(__file__).parents[2] / "docker"


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with a status: its port, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


def health(port: int, host: str = "0.0.0.0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-IS", DOCKER / "healthcheck.py"],
        env=os.environ | {"RETINASERVE_HOST": host, "RETINASERVE_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_healthcheck_is_0_when_readyz_is_200():
    with answering(200) as (port, asked):
        assert (health(port).returncode, asked) == (0, ["/readyz"])


def test_healthcheck_is_1_and_says_the_status_when_readyz_is_not_200():
    with answering(503) as (port, _):
        done = health(port)
    assert (done.returncode, done.stderr) == (1, f"127.0.0.1:{port}/readyz says 503\n")


def test_healthcheck_is_1_where_nothing_listens():
    with answering(200) as (port, _):
        pass
    done = health(port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: " in done.stderr
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize(("host", "code"), [("::", 0), ("127.0.0.1", 0), ("127.0.0.2", 1)])
def test_healthcheck_asks_where_the_service_listens(host, code):
    with answering(200) as (port, _):
        assert health(port, host).returncode == code


PYPROJECT = """
[project]
dependencies = ["numpy>=2", "tqdm"]
[project.optional-dependencies]
cpu = ["onnxruntime>=1.20"]
export = ["onnx", "onnxruntime>=1.20"]
"""


@pytest.mark.parametrize(
    ("extras", "expected"),
    [
        ("cpu", "numpy>=2\ntqdm\nonnxruntime>=1.20\n"),
        ("cpu,export", "numpy>=2\ntqdm\nonnxruntime>=1.20\nonnx\n"),
    ],
)
def test_requirements_are_those_of_the_project_and_of_its_extras_once(tmp_path, extras, expected):
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    done = subprocess.run(
        [sys.executable, DOCKER / "requirements.py", extras],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == expected
