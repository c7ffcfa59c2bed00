"""What NVIDIA's own client, unmodified, makes of a server: python triton_script.py HOST:PORT.

Reads the bytes of one picture from stdin and writes what came out as JSON. Run with the client on
PYTHONPATH, in a process of its own: it brings an event loop of its own.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def pictures(data: bytes, count: int) -> triton.InferInput:
    tensor = triton.InferInput("image", [count], "BYTES")
    return tensor.set_data_from_numpy(np.array([data] * count, np.object_))


def pixels() -> triton.InferInput:
    tensor = triton.InferInput("image", [1, 64, 96, 3], "UINT8")
    return tensor.set_data_from_numpy(np.zeros((1, 64, 96, 3), np.uint8), binary_data=False)


def refused(call, *args, **kwargs) -> list[str]:
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return []


def main() -> None:
    data = sys.stdin.buffer.read()
    client = triton.InferenceServerClient(sys.argv[1])
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("cells"),
        "version_ready": client.is_model_ready("cells", "1"),
        "other_ready": client.is_model_ready("other"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata("cells", "1"),
        "no_config": refused(client.get_model_config, "cells"),
    }
    wanted = [
        triton.InferRequestedOutput("boxes", binary_data=False),
        triton.InferRequestedOutput("num_detections"),
    ]
    options = {"parameters": {"max_detections": 5, "score_threshold": 0.4}, "timeout": 60_000_000}
    for name, result in {
        "two": client.infer("cells", [pictures(data, 2)], request_id="7"),
        "chosen": client.infer("cells", [pictures(data, 1)], outputs=wanted, **options),
        "pixels": client.infer("cells", [pixels()], model_version="1"),
        "async": client.async_infer("cells", [pictures(data, 1)]).get_result(),
    }.items():
        tensors = {}
        for output in result.get_response()["outputs"]:
            tensor = result.as_numpy(output["name"])
            tensors[output["name"]] = [str(tensor.dtype), list(tensor.shape), tensor.tolist()]
        found[name] = {"id": result.get_response().get("id"), "tensors": tensors}
    found["bad_picture"] = refused(client.infer, "cells", [pictures(b"GIF", 1)])
    found["bad_model"] = refused(client.infer, "other", [pictures(data, 1)])
    found["compressed"] = refused(
        client.infer, "cells", [pictures(data, 1)], request_compression_algorithm="gzip"
    )
    packed = client.infer("cells", [pictures(data, 1)], response_compression_algorithm="gzip")
    found["packed"] = packed.as_numpy("num_detections").tolist()
    client.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
