"""The model in Triton by PyTriton: a tensor of picture files in, one of JSON texts out.

python -m loadtest.peers.py_triton --port 8000
"""

from __future__ import annotations

import numpy as np
import orjson
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from loadtest.peers.detector import MAX_BATCH, Detector
from loadtest.peers.peer import announce, port_of

MODEL = "cells"


def main() -> None:
    """Serves until a signal."""
    port = port_of(__doc__)
    detector = Detector()

    @batch
    def detect(image: NDArray[np.bytes_]) -> dict[str, NDArray[np.bytes_]]:
        answers = detector.detect([detector.prepare(data) for (data,) in image])
        return {"answer": np.array([[orjson.dumps(answer)] for answer in answers], np.object_)}

    announce(port, f"/v2/models/{MODEL}/ready")
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    with Triton(config=TritonConfig(http_address="127.0.0.1", **ports)) as triton:
        triton.bind(
            MODEL,
            detect,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="answer", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
        )
        triton.serve()


if __name__ == "__main__":
    main()
