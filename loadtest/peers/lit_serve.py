"""The model in LitServe, whose requests are JSON: pictures come as base64.

python -m loadtest.peers.lit_serve --port 8000
"""

from __future__ import annotations

import base64
from typing import Any

import litserve

from loadtest.peers.detector import MAX_BATCH, Detector
from loadtest.peers.peer import announce, port_of
from service.pictures.images import PreparedImage


class DetectApi(litserve.LitAPI):
    """POST /detect of `{"image": base64}`."""

    def setup(self, device: str) -> None:
        """Opens the model in the worker."""
        self.detector = Detector()

    def decode_request(self, request: dict[str, str]) -> PreparedImage:
        """A picture of a request."""
        return self.detector.prepare(base64.b64decode(request["image"]))

    def batch(self, inputs: list[PreparedImage]) -> list[PreparedImage]:
        """Left as they are: the detector stacks them."""
        return inputs

    def predict(self, inputs: list[PreparedImage]) -> list[dict[str, Any]]:
        """The answers of a batch."""
        return self.detector.detect(inputs)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Already by image."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """As it is."""
        return output


if __name__ == "__main__":
    port = port_of(__doc__)
    announce(port, "/health")
    # With a timeout of 0 it asks for requests without pause, idle too, and takes a core for that.
    api = DetectApi(max_batch_size=MAX_BATCH, batch_timeout=0.005, api_path="/detect")
    litserve.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=port, log_level="warning", generate_client_file=False
    )
