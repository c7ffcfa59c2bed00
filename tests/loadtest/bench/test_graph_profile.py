"""Stages and arithmetic of a graph: against its named values, and against torch's own counter."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch.utils.flop_counter import FlopCounterMode

from export.contract import CANDIDATES, DELTAS, DETECTIONS, LOGITS
from export.manifest import Bundle
from loadtest.bench import graph_profile
from loadtest.bench.graph_profile import (
    CONVOLUTIONS,
    flops_of,
    shares_by_rank,
    shares_by_stage,
    stage_shares,
    stages_of_nodes,
)
from loadtest.bench.stages import Stage
from model.checkpoint import load_checkpoint

HEIGHT, WIDTH = 64, 96


@pytest.fixture
def batch() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    images = np.full((2, HEIGHT, WIDTH, 3), 100, np.uint8)
    return images, np.array([[HEIGHT, WIDTH]] * 2)


def graph_file(bundle: Bundle, precision: str) -> Path:
    return bundle.graph_path(next(g for g in bundle.manifest.graphs if g.precision == precision))


def before(nodes: list[Any], values: Collection[str]) -> set[str]:
    """Names of the nodes whose values, not only their shapes, these are computed from."""
    wanted, found = set(values), set()
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.add(node.name)
            if node.op_type != "Shape":
                wanted.update(node.input)
    return found


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_stages_agree_with_the_named_values(tiny_bundle: Bundle, precision: str) -> None:
    nodes = list(onnx.load(graph_file(tiny_bundle, precision)).graph.node)
    stages = stages_of_nodes(nodes)
    maker = {value: node for node in nodes for value in node.output}
    for values, stage in (
        ([*LOGITS, *DELTAS], "heads"),
        (CANDIDATES, "candidates"),
        (DETECTIONS, "nms"),
    ):
        assert {name: stages[maker[name].name] for name in values} == dict.fromkeys(values, stage)
    shared = before(nodes, LOGITS) & before(nodes, DELTAS)
    convolutions = [node for node in nodes if node.op_type in CONVOLUTIONS]
    for node in convolutions:
        assert stages[node.name] == ("trunk" if node.name in shared else "heads")
    # Two subnets of one convolution and the last one, on five levels.
    assert sum(stages[node.name] == "heads" for node in convolutions) == 20


def test_stages_without_names_end_at_the_operator() -> None:
    nodes = [
        helper.make_node(op, inputs, outputs, name)
        for op, inputs, outputs, name in (
            ("Cast", ["images"], ["x"], "cast"),
            ("Conv", ["x", "w"], ["p3"], "pyramid"),
            ("Conv", ["p3", "w"], ["logits"], "classes"),
            ("QLinearConv", ["p3", "w"], ["deltas"], "boxes"),
            ("Transpose", ["logits"], ["rows"], "to rows"),
            ("TopK", ["rows"], ["best"], "best"),
            ("Mul", ["deltas", "best"], ["decoded"], "decode"),
            ("NonMaxSuppression", ["decoded", "best"], ["kept"], "suppress"),
            ("Gather", ["decoded", "kept"], ["out"], "gather"),
        )
    ]
    assert stages_of_nodes(nodes) == {
        "cast": "trunk",
        "pyramid": "trunk",
        "classes": "heads",
        "boxes": "heads",
        "to rows": "heads",
        "best": "candidates",
        "decode": "candidates",
        "suppress": "nms",
        "gather": "nms",
    }


def event(name: str, dur: float, *shapes: list[int]) -> dict[str, Any]:
    """A node's entry in an ONNX Runtime profile."""
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": dur,
        "args": {"input_type_shape": [{"float": shape} for shape in shapes]},
    }


def a_profile() -> list[dict[str, Any]]:
    run = [
        event("conv", 60, [1, 3, 8, 8], [16, 3, 3, 3], [16]),
        event("top_k", 30, [1, 576]),
        event("nms", 10, [1, 20, 4], [1, 3, 20]),
    ]
    # The first two runs of each node are warm-up, and other events are no node's time.
    warm_up = [event(entry["name"].removesuffix("_kernel_time"), 1e6) for entry in run]
    other = [{"cat": "Session", "name": "model_run", "dur": 1000.0}]
    return [*warm_up, *warm_up, *run, *run, *other]


def test_shares_by_stage() -> None:
    stages: dict[str, Stage] = {"conv": "trunk", "top_k": "candidates", "nms": "nms"}
    assert shares_by_stage(a_profile(), stages) == pytest.approx(
        {"trunk": 0.6, "heads": 0.0, "candidates": 0.3, "nms": 0.1}
    )


def test_shares_by_rank_count_nodes_that_touch_no_map() -> None:
    assert shares_by_rank(a_profile()) == pytest.approx({"network": 0.6, "candidates+nms": 0.4})


def test_profile_of_a_graph_tells_every_stage(tiny_bundle: Bundle, batch: Any) -> None:
    shares = stage_shares(graph_file(tiny_bundle, "int8"), *batch, threads=1)
    assert list(shares) == ["trunk", "heads", "candidates", "nms"]
    assert all(share > 0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1.0)


def test_profile_without_onnx_tells_two_stages(
    tiny_bundle: Bundle, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_profile.importlib.util, "find_spec", lambda name: None)
    shares = stage_shares(graph_file(tiny_bundle, "fp32"), *batch, threads=1)
    assert list(shares) == ["network", "candidates+nms"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_operations_are_those_that_torch_counts(
    tiny_bundle: Bundle, tiny_checkpoint: Path, batch: Any, precision: str
) -> None:
    images = torch.zeros(2, 3, HEIGHT, WIDTH)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        load_checkpoint(tiny_checkpoint).build()(images)
    counted = flops_of(graph_file(tiny_bundle, precision), *batch, threads=1)
    assert counted == counter.get_total_flops()
