"""The model in BentoML, with adaptive batching.

python -m loadtest.peers.bento_ml --port 8000
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import bentoml

from loadtest.peers.detector import MAX_BATCH, Detector
from loadtest.peers.peer import announce, port_of


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Detect:
    """POST /detect of a multipart form with a file `image`."""

    def __init__(self) -> None:
        self.detector = Detector()

    # With less it answers 503 under load.
    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=60_000)
    def detect(self, image: list[Path]) -> list[dict[str, Any]]:
        """The answers of a batch."""
        return self.detector.detect(
            [self.detector.prepare(picture.read_bytes()) for picture in image]
        )


if __name__ == "__main__":
    port = port_of(__doc__)
    announce(port, "/readyz")
    command = [sys.executable, "-m", "bentoml", "serve", "loadtest.peers.bento_ml:Detect"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # Its log goes to stderr: nobody reads stdout once the server is ready.
    sys.exit(subprocess.run(command, stdout=sys.stderr).returncode)
