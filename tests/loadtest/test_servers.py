"""Servers in processes of their own, by one that only says that it is ready."""

from __future__ import annotations

import pytest

from loadtest.servers import Server
from model.errors import InputError

STUB = "tests.loadtest.stub_server"


def test_a_server_is_started_and_ended_by_sigterm_again_and_again():
    server = Server("serves", module=STUB, port=8123)
    for _ in range(2):
        server.start()
        assert server.process.poll() is None
        assert server.detect_url == "http://127.0.0.1:8123/v1/detect"
        assert server.stop() == 3


def test_a_server_may_be_killed_and_killed_again():
    server = Server("serves", module=STUB)
    server.start()
    assert server.kill() == -9
    assert server.kill() == -9


def test_a_server_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr("loadtest.servers.STOP_S", 0.0)
    server = Server("stays", module=STUB)
    server.start()
    assert server.stop() == -9


def test_a_server_ends_with_its_block():
    with pytest.raises(KeyError), Server("serves", module=STUB) as server:
        raise KeyError("in the block")
    assert server.process.returncode == 3


def test_a_server_that_ends_before_it_is_ready_is_an_input_error():
    with pytest.raises(InputError, match="the server ended with status 5 before it was ready"):
        Server("ends", module=STUB).start()
