"""The model in a FastAPI route, one picture at a time: what one writes in an afternoon.

python -m loadtest.peers.bare_fastapi --port 8000
"""

from __future__ import annotations

import threading
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

from loadtest.peers.detector import Detector
from loadtest.peers.peer import announce, port_of


def app_of(detector: Detector) -> FastAPI:
    """POST /detect of a picture file."""
    app = FastAPI()
    engine = threading.Lock()

    def detect(data: bytes) -> dict[str, Any]:
        image = detector.prepare(data)
        with engine:
            return detector.detect([image])[0]

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/detect")
    async def detect_route(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(detect, await request.body())

    return app


if __name__ == "__main__":
    port = port_of(__doc__)
    announce(port, "/health")
    uvicorn.run(app_of(Detector()), host="127.0.0.1", port=port, log_level="warning")
