"""What each group of a trunk costs on this CPU."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime

from export.calibration import Feed
from export.trunk import Trunk

RUNS = 3

_NODE = re.compile(r"(.*?)(_nchwc)?_kernel_time")
"""How ONNX Runtime names a node's event; in its own layout a node is named after what it makes."""


def time_shares(trunk: Trunk, feed: Feed) -> dict[str, float]:
    """The share of the float graph's time that each group takes, by ONNX Runtime's profiler."""
    group_of = dict(trunk.group_of_value)
    group_of |= {name: group for group, members in trunk.groups.items() for name in members}
    spent = dict.fromkeys(trunk.groups, 0.0)
    total = 0.0
    for event in _events(trunk, feed):
        if (node := _NODE.fullmatch(event["name"])) is None:
            continue
        total += event["dur"]
        if (group := group_of.get(node[1])) is not None:
            spent[group] += event["dur"]
    return {group: time / max(total, 1.0) for group, time in spent.items()}


def _events(trunk: Trunk, feed: Feed) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(
            trunk.graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(RUNS):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node"]
