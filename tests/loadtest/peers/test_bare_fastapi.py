from __future__ import annotations

import httpx
import pytest

from loadtest.bench.prepared import pictures_to_time
from loadtest.peers.bare_fastapi import app_of
from loadtest.peers.detector import Detector


@pytest.mark.anyio
async def test_the_bare_peer_answers_like_the_service() -> None:
    (picture, *_), _ = pictures_to_time(None)
    transport = httpx.ASGITransport(app_of(Detector()))
    async with httpx.AsyncClient(transport=transport, base_url="http://peer") as client:
        answer = (await client.post("/detect", content=picture)).json()
    assert answer["model"]["name"] == "cells"
    assert answer["image"] == {"width": 640, "height": 480}
    assert {row["label"] for row in answer["detections"]} >= {"RBC", "WBC"}
