"""A real server on a real socket: signals, drain, exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from model.errors import InputError
from service.server import bind, url_of
from tests.service.fakes import picture
from tests.service.started import FAKE, ROOT, Started, started

PNG = picture()
RUN_S = 0.3


def server(
    drain_delay_s: float, run_s: float = RUN_S, within: tuple[str, ...] = ()
) -> AbstractContextManager[Started]:
    return started(
        FAKE,
        str(run_s),
        within=within,
        stderr=subprocess.PIPE,
        drain_delay_s=drain_delay_s,
        log_level="info",
    )


def test_sigterm_serves_on_then_finishes_what_is_in_flight_and_exits_with_0():
    # The delay leaves a slow machine time to begin the posts, the runs outlast it all the same.
    with server(drain_delay_s=4, run_s=1.5) as (process, url), ThreadPoolExecutor(4) as pool:
        assert httpx.get(f"{url}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while httpx.get(f"{url}/readyz").status_code == 200:
            assert time.monotonic() < deadline
        # Runs one after the other: the last begun after the delay, all admitted within it.
        posts = [
            pool.submit(httpx.post, f"{url}/v1/detect", content=PNG, timeout=30) for _ in range(4)
        ]
        answers = [post.result() for post in posts]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        assert process.wait(10) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/livez")


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def alive(client: socket.socket) -> bool:
    """Whether the next that comes is the answer to a GET of /livez, as a whole."""
    told = b""
    while part := client.recv(1000):
        told += part
        if told.endswith(b"}"):
            return told.startswith(b"HTTP/1.1 200 OK\r\n")
    return False


def until_refused(url: str) -> None:
    """Returns when nobody listens there any more."""
    deadline = time.monotonic() + 30
    while True:
        try:
            connect(url).close()
        except ConnectionRefusedError:
            return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_upload_under_way_finishes_after_the_listener_has_closed():
    with server(drain_delay_s=0) as (process, url), connect(url) as client:
        head = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PNG)}\r\n"
        client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(PNG[:50])
        process.send_signal(signal.SIGTERM)
        until_refused(url)
        client.sendall(PNG[50:])
        with client.makefile("rb") as answer:
            told = answer.read().lower()
        assert told.startswith(b"http/1.1 200 ok\r\n")
        assert b"\r\nconnection: close\r\n" in told
        assert process.wait(10) == 0


def test_a_head_under_way_is_answered_after_the_listener_has_closed():
    with server(drain_delay_s=0) as (process, url), connect(url) as client:
        # The answer to the first says that the beginning of the second is there too.
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\n")
        assert alive(client)
        process.send_signal(signal.SIGTERM)
        until_refused(url)
        client.sendall(b"Host: x\r\n\r\n")
        assert alive(client)
        assert process.wait(10) == 0


def test_idle_connections_do_not_hold_up_the_end():
    with server(drain_delay_s=0) as (process, url), connect(url) as kept, connect(url) as silent:
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert alive(kept)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert kept.recv(1000) == silent.recv(1000) == b""


def test_as_pid_1_of_a_container_it_drains_and_leaves_no_child():
    namespace = ("unshare", "--pid", "--fork", "--mount-proc")
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"]).returncode:
        pytest.skip("this user may not make a PID namespace")
    with server(drain_delay_s=0.2, run_s=1.0, within=namespace) as (process, url):
        (pid,) = children(process.pid)
        assert Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split()[1] == "1"
        with ThreadPoolExecutor(2) as pool:
            posts = [
                pool.submit(httpx.post, f"{url}/v1/detect", content=PNG, timeout=30)
                for _ in range(2)
            ]
            arrived = 'retinaserve_requests_received_total{route="/v1/detect"} 2.0'
            while arrived not in httpx.get(f"{url}/metrics").text:
                time.sleep(0.01)
            assert children(pid) == []
            os.kill(pid, signal.SIGTERM)
            assert [post.result().status_code for post in posts] == [200, 200]
        assert process.wait(10) == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_sigterm_while_starting_ends_with_0():
    code = (
        "import time; from service.signals import ends_on_sigterm\n"
        "with ends_on_sigterm(): print(1, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_sighup_ends_a_server_neither_while_it_starts_nor_at_its_end():
    code = (
        "from service.signals import outlives_sighup\n"
        "with outlives_sighup(): print(1, flush=True); input()\n"
        "print(2, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
            process.send_signal(signal.SIGHUP)
            process.stdin.write("\n")
            process.stdin.flush()
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert told == "SIGHUP: nothing is reloaded: the server is starting or ending\n"


def test_sighup_while_starting_and_a_reload_that_hangs_leave_the_server_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "gate")
    log = tmp_path / "log"

    def told(part: str) -> bool:
        return part in log.read_text()

    # The first run of a shape counts as hung after 20 times this, a second.
    given = {"RETINASERVE_ENGINE_TIMEOUT_S": "0.05", "RETINASERVE_MAX_BATCH_SIZE": "1"}
    command = [sys.executable, "-m", "tests.service.hanging_server", str(tmp_path)]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | given, stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        try:
            until((tmp_path / "opening").exists)
            process.send_signal(signal.SIGHUP)
            until(lambda: told("SIGHUP: nothing is reloaded: the server is starting or ending"))
            (tmp_path / "gate").write_text("")
            assert process.stdout is not None
            url = re.search(rb"http://[\w.:]+", process.stdout.readline())
            assert url is not None
            process.send_signal(signal.SIGHUP)
            until(lambda: told("failed while warming up; the log says why; cells 1 still serves"))
            assert httpx.get(f"{url[0].decode()}/readyz").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0  # though the thread of the refused engine still hangs
        finally:
            process.kill()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_does_not_wait_and_exits_with_0():
    with server(drain_delay_s=60) as (process, url):
        assert httpx.post(f"{url}/v1/detect", content=PNG).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        told = [json.loads(line)["message"] for line in process.stderr]
        assert told[-2:] == ["SIGINT: closing; what is in flight finishes", "stopped"]


def test_an_upload_too_large_is_refused_though_it_is_still_coming():
    with server(drain_delay_s=0) as (_, url):
        answer = httpx.post(f"{url}/v1/detect", content=b"x" * 30_000_000)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_client_that_hangs_up_costs_no_run():
    with server(drain_delay_s=0) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PNG)}\r\n\r\n"
        for _ in range(12):
            with socket.create_connection((host, int(port))) as leaver:
                leaver.sendall(head.encode() + PNG)
        began = time.monotonic()
        assert httpx.post(f"{url}/v1/detect", content=PNG).status_code == 200
        # Not the 12 x .3 s of those who left: at most one run of theirs had begun.
        assert time.monotonic() - began < 6 * RUN_S
        metrics = httpx.get(f"{url}/metrics").text
        assert 'retinaserve_images_total{outcome="ok"} 1.0' in metrics


def test_bind_takes_exactly_the_port_or_says_why_not():
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(InputError, match=f"port {port}: the port is in use; choose another"):
            bind("127.0.0.1", port)


def test_bind_refuses_an_address_that_is_not_ours():
    with pytest.raises(InputError, match="no such address"):
        bind("192.0.2.1", 0)
