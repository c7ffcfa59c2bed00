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

from service.server import bind

DOCKER = Path(__file__).parents[2] / "docker"


@contextmanager
def answering(status: int, host: str = "127.0.0.1") -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with a status: its port, and the paths it was asked for.

    It listens where the service would on this host.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer((host, 0), Handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = bind(host, 0)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.socket.getsockname()[1], asked
        finally:
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


@pytest.mark.parametrize(("host", "told"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_healthcheck_is_1_and_says_the_status_when_readyz_is_not_200(host, told):
    with answering(503, host) as (port, _):
        done = health(port, host)
    assert (done.returncode, done.stderr) == (1, f"{told}:{port}/readyz says 503\n")


def test_healthcheck_is_1_where_nothing_listens():
    with answering(200) as (port, _):
        pass
    done = health(port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: " in done.stderr
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "localhost"])
def test_healthcheck_asks_where_the_service_listens(host):
    with answering(200, host) as (port, _):
        assert health(port, host).returncode == 0


def test_healthcheck_asks_no_other_address_than_the_one_of_the_service():
    with answering(200, "127.0.0.1") as (port, _):
        assert health(port, "127.0.0.2").returncode == 1


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
