"""Which part of a graph's time is the network and which is its post-processing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.engines.onnxruntime_session import ERRORS_ONLY

RUNS = 5
WARM_UP_RUNS = 2
MAP_RANK = 4
"""Images and feature maps have four axes; logits by anchor, candidates and boxes have fewer."""


def postprocess_share(
    graph: Path, images: NDArray[np.uint8], image_sizes: NDArray[np.int64], threads: int
) -> float:
    """The share (0..1) of a graph's time in nodes that touch no map: top-k, decode and NMS.

    From ONNX Runtime's own profile of a session made for it, since profiling slows each node.
    Shapes: images [B, H, W, 3], image_sizes [B, 2].
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = ERRORS_ONLY
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
        for _ in range(WARM_UP_RUNS + RUNS):
            session.run(None, {"images": images, "image_sizes": image_sizes})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return share_off_the_maps(events)


def share_off_the_maps(events: Iterable[dict[str, Any]]) -> float:
    """The share of node time in nodes of which no input or output is a map; 0 without nodes.

    `events` are those of an ONNX Runtime profile. The first runs of every node are left out: they
    allocate.
    """
    durations: dict[str, list[float]] = {}
    on_map: dict[str, bool] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        facts = event["args"]
        tensors = [*facts.get("input_type_shape", []), *facts.get("output_type_shape", [])]
        durations.setdefault(event["name"], []).append(float(event["dur"]))
        on_map[event["name"]] = any(
            len(shape) >= MAP_RANK for tensor in tensors for shape in tensor.values()
        )
    spent = {name: sum(times[WARM_UP_RUNS:]) for name, times in durations.items()}
    total = sum(spent.values())
    return sum(time for name, time in spent.items() if not on_map[name]) / total if total else 0.0
