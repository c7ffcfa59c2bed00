"""Where a graph's time goes in ONNX Runtime on a CPU, and how much arithmetic it does."""

from __future__ import annotations

import importlib.util
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.contract import CANDIDATES
from export.engines.onnxruntime_session import session_options
from loadtest.bench.stages import Shares, Stage, shares_of

RUNS = 5
WARM_UP_RUNS = 2
MAP_RANK = 4
"""Images and feature maps have four axes; logits by anchor, candidates and boxes have fewer."""

CONVOLUTIONS = ("Conv", "FusedConv", "QLinearConv", "ConvInteger")
LAYOUT_ALONE = ("ReorderOutput", "Transpose", "Reshape", "DequantizeLinear")
"""What brings the heads' maps into anchor order, as the model itself does."""

NMS = "NonMaxSuppression"

Events = list[dict[str, Any]]


def stage_shares(
    graph: Path, images: NDArray[np.uint8], image_sizes: NDArray[np.int64], threads: int
) -> Shares:
    """The shares of a graph's time in its stages, by ONNX Runtime's own profile.

    With onnx installed: trunk, heads, candidates and nms. Without: network and candidates+nms. The
    profile is of a session made for it, since profiling slows each node; what counts are the
    shares.
    Shapes: images [B, H, W, 3], image_sizes [B, 2].
    """
    with tempfile.TemporaryDirectory() as folder:
        rewritten = Path(folder) / "rewritten.onnx"
        settings = session_options(threads)
        settings.optimized_model_filepath = str(rewritten)
        feed = {"images": images, "image_sizes": image_sizes}
        events = _profile(graph, settings, feed, WARM_UP_RUNS + RUNS)
        if importlib.util.find_spec("onnx") is None:
            return shares_by_rank(events)
        import onnx

        stages = stages_of_nodes(onnx.load(rewritten).graph.node)
    return shares_by_stage(events, stages)


def flops_of(
    graph: Path, images: NDArray[np.uint8], image_sizes: NDArray[np.int64], threads: int
) -> int:
    """Floating point operations of the convolutions in one run, a multiply-add counted as two.

    From the shapes that ONNX Runtime saw when it ran the graph as it is, nothing rewritten: as
    logical as the file's, and dynamic sizes are known.
    """
    settings = session_options(threads)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    events = _profile(graph, settings, {"images": images, "image_sizes": image_sizes}, runs=1)
    return sum(_convolution_flops(e["args"]) for e in _kernels(events))


def _convolution_flops(facts: dict[str, Any]) -> int:
    if facts.get("op_name") not in CONVOLUTIONS:
        return 0
    shapes = [shape for tensor in facts["input_type_shape"] for shape in tensor.values()]
    # Of the inputs with four axes the first is the map and the second the weights [O, I / g, h, w].
    weights = [shape for shape in shapes if len(shape) == MAP_RANK][1]
    ((result,),) = (tensor.values() for tensor in facts["output_type_shape"])
    flops: int = 2 * math.prod(result) * math.prod(weights[1:])
    return flops


def stages_of_nodes(nodes: Sequence[Any]) -> dict[str, Stage]:
    """The stage of each node (onnx.NodeProto, in topological order), by what follows from it.

    The heads' last convolutions are those that no other follows. A node that leads to several of
    them is trunk, one that leads to one is heads; what turns a head's last map into logits or
    deltas by moving numbers alone is heads as well. Of the rest, what the candidates (by name, else
    the NMS operator) are computed from is candidates, and what comes after is nms.
    """
    users: dict[str, list[Any]] = defaultdict(list)
    for node in nodes:
        for value in node.input:
            users[value].append(node)
    leads_to: dict[str, frozenset[str]] = {}
    for node in reversed(nodes):
        found = frozenset[str]().union(
            *(leads_to[user.name] for value in node.output for user in users[value])
        )
        last = not found and node.op_type in CONVOLUTIONS
        leads_to[node.name] = frozenset([node.name]) if last else found
    early = _ancestors_of_candidates(nodes)
    stages: dict[str, Stage] = {}
    heads_values: set[str] = set()
    for node in nodes:
        count = len(leads_to[node.name])
        stage: Stage
        if count > 1:
            stage = "trunk"
        elif count == 1 or (
            node.op_type in LAYOUT_ALONE and any(value in heads_values for value in node.input)
        ):
            stage = "heads"
            heads_values.update(node.output)
        else:
            stage = "candidates" if node.name in early else "nms"
        stages[node.name] = stage
    return stages


def _ancestors_of_candidates(nodes: Sequence[Any]) -> set[str]:
    made = {value for node in nodes for value in node.output}
    wanted = {value for value in CANDIDATES if value in made}
    if not wanted:
        wanted = {value for node in nodes if node.op_type == NMS for value in node.input}
    found = set()
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.add(node.name)
            wanted.update(value for value in node.input if value)
    return found


def shares_by_stage(events: Iterable[dict[str, Any]], stages: dict[str, Stage]) -> Shares:
    """The share of node time in each stage; nodes by name."""
    spent: Shares = {"trunk": 0.0, "heads": 0.0, "candidates": 0.0, "nms": 0.0}
    for name, (time, _) in _node_times(events).items():
        spent[stages[name]] += time
    return shares_of(spent)


def shares_by_rank(events: Iterable[dict[str, Any]]) -> Shares:
    """The share of node time in nodes that touch a map, and in the others."""
    spent: Shares = {"network": 0.0, "candidates+nms": 0.0}
    for time, on_map in _node_times(events).values():
        spent["network" if on_map else "candidates+nms"] += time
    return shares_of(spent)


def _node_times(events: Iterable[dict[str, Any]]) -> dict[str, tuple[float, bool]]:
    """Of each node its time and whether an input or output is a map; not of the first runs, which
    allocate.
    """
    durations: dict[str, list[float]] = defaultdict(list)
    on_map: dict[str, bool] = {}
    for event in _kernels(events):
        facts = event["args"]
        name = event["name"].removesuffix("_kernel_time")
        tensors = [*facts.get("input_type_shape", []), *facts.get("output_type_shape", [])]
        durations[name].append(float(event["dur"]))
        on_map[name] = any(
            len(shape) >= MAP_RANK for tensor in tensors for shape in tensor.values()
        )
    return {name: (sum(times[WARM_UP_RUNS:]), on_map[name]) for name, times in durations.items()}


def _kernels(events: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return (
        event
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    )


def _profile(graph: Path, settings: Any, feed: dict[str, Any], runs: int) -> Events:
    with tempfile.TemporaryDirectory() as folder:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, feed)
        events: Events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return events
