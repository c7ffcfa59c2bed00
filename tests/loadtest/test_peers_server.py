"""A server that is stopped but for its turns."""

from __future__ import annotations

import time
from pathlib import Path

from loadtest.peers.server import awake, frozen
from loadtest.servers import Server


def state(pid: int) -> str:
    """By the kernel: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_frozen_server_runs_only_while_it_is_awake() -> None:
    server = Server("serves", module="tests.loadtest.stub_server")
    with frozen(server):
        assert soon(server, stopped=True)
        with awake(server):
            assert soon(server, stopped=False)
        assert soon(server, stopped=True)
    assert server.process.returncode == 3  # it ended by itself, as SIGTERM asks it to


def soon(server: Server, *, stopped: bool) -> bool:
    """Whether it comes to that: signals take a moment."""
    for _ in range(100):
        if (state(server.process.pid) == "T") is stopped:
            return True
        time.sleep(0.01)
    return False
