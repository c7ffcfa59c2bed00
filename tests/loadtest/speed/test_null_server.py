from __future__ import annotations

import httpx

from loadtest.servers import Server
from tests.service.fakes import picture


def test_null_server_answers_every_picture_with_nothing() -> None:
    with Server(module="loadtest.speed.null_server") as server:
        answer = httpx.post(server.detect_url, content=picture(), timeout=30)
        assert answer.json()["detections"] == []
        model = httpx.get(f"{server.url}/v1/models").json()["models"][0]
        assert model["engine"] == "null"
    assert server.process.returncode == 0
