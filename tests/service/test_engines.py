"""A checkpoint behind HTTP: the service knows sessions, not what runs in them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from export.engines.registry import open_session
from model.synthetic.scene import draw_scene
from tests.service.conftest import Serving


@pytest.mark.anyio
async def test_checkpoint_is_served_by_torch(serving: Serving, tiny_checkpoint: Path) -> None:
    session = open_session(tiny_checkpoint, "torch", threads=1, scales=(64,))
    buffer = io.BytesIO()
    Image.fromarray(draw_scene(3, (64, 96)).image).save(buffer, "PNG")
    async with serving(session, max_batch_size=1) as client:
        answer = await client.post("/v1/detect", content=buffer.getvalue())
        assert answer.status_code == 200
        assert answer.json()["model"] == {"name": "tiny", "version": "1"}
        assert len(answer.json()["detections"]) > 20
        (model,) = (await client.get("/v1/models")).json()["models"]
        assert model["engine"].startswith("torch-")
        assert (model["precision"], model["scales"], model["parity"]) == ("fp32", [64], {})
        metrics = (await client.get("/metrics")).text
        assert f'engine="{model["engine"]}"' in metrics
