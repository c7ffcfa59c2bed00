"""A real server whose plan is built beside it: the swap, the drain, a build that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.service.fakes import picture
from tests.service.started import started

PNG = picture()


@contextmanager
def building(folder: Path, **settings: object) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """(process, URL, process id of the build) of a server that is ready and waits for its plan."""
    os.mkfifo(folder / "gate")
    command = ("tests.service.plan_server", str(folder))
    with (
        (folder / "log").open("w") as log,
        started(*command, stderr=log, max_batch_size=1, **settings) as (process, url),
    ):
        until((folder / "pid").exists)
        yield process, url, int((folder / "pid").read_text())


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def engine_of(url: str) -> str:
    return str(httpx.get(f"{url}/v1/models").json()["models"][0]["engine"])


def gone(pid: int) -> bool:
    """Whether a process has ended and been reaped: a zombie is still found."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def told(folder: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (folder / "log").read_text().splitlines()]


def answers(url: str) -> list[int]:
    post = httpx.post(f"{url}/v1/detect", content=PNG, timeout=30)
    return [post.status_code, httpx.get(f"{url}/readyz").status_code]


def test_the_plan_is_taken_when_it_is_there_and_no_request_fails(tmp_path):
    with building(tmp_path) as (process, url, pid):
        assert engine_of(url) == "onnxruntime-1"
        assert answers(url) == [200, 200]
        (tmp_path / "gate").write_text("")
        until(lambda: answers(url) == [200, 200] and engine_of(url) == "tensorrt-11")
        assert gone(pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "TensorRT plan: built" in told(tmp_path)


def test_a_drain_ends_the_build_at_once_and_nothing_else(tmp_path):
    with building(tmp_path, drain_delay_s=60) as (process, url, pid):
        process.send_signal(signal.SIGTERM)
        until(lambda: gone(pid))
        assert answers(url) == [200, 503]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert told(tmp_path)[-1] == "stopped"
    assert not any("fail" in text for text in told(tmp_path))


def test_a_build_that_is_killed_harms_nothing(tmp_path):
    with building(tmp_path) as (process, url, pid):
        os.kill(pid, signal.SIGKILL)
        until(lambda: any("failed with status -9" in text for text in told(tmp_path)))
        assert answers(url) == [200, 200]
        assert engine_of(url) == "onnxruntime-1"
        process.send_signal(signal.SIGHUP)
        until(lambda: any(text.startswith("reloaded: ") for text in told(tmp_path)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert sum("building it" in text for text in told(tmp_path)) == 1
