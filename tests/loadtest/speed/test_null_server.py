from __future__ import annotations

import httpx
import pytest

from loadtest.servers import running_server
from model.errors import InputError
from tests.service.fakes import picture


def test_null_server_answers_every_picture_with_nothing() -> None:
    with running_server(module=["loadtest.speed.null_server"]) as server:
        answer = httpx.post(server.detect_url, content=picture(), timeout=30)
        assert answer.json()["detections"] == []
        model = httpx.get(f"{server.url}/v1/models").json()["models"][0]
        assert model["engine"] == "null"
    assert server.process.returncode == 0


def test_a_server_that_does_not_start_is_told_with_its_status() -> None:
    with (
        pytest.raises(InputError, match="ended with status 2 before it was ready"),
        running_server("--bundle", "/nowhere"),
    ):
        pass
