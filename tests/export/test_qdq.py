"""Where Q/DQ nodes stand in a graph for accelerators, and what they hold."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from export.plain_session import session_of
from export.qdq import EightBits, with_qdq
from export.trunk import Trunk
from tests.export.small_graphs import PYRAMID, RESNET, Row, graph_of, some_images


def made(rows: list[Row], precision: EightBits = "int8") -> onnx.ModelProto:
    graph = graph_of(rows)
    amax = {node.name: 4.0 for node in graph.graph.node}
    return with_qdq(graph, Trunk(graph).nodes, amax, precision)


def reads_of(model: onnx.ModelProto) -> dict[str, list[str]]:
    """By node of the float graph, the values that it reads, weights left out."""
    weights = {entry.name for entry in model.graph.initializer}
    weights |= {node.output[0] for node in model.graph.node if node.input[0] in weights}
    return {
        node.name: [name for name in node.input if name and name not in weights]
        for node in model.graph.node
        if "Linear" not in node.op_type
    }


def test_convolutions_and_what_moves_values_read_8_bits_and_outputs_stay_float() -> None:
    assert reads_of(made(RESNET)) == {
        "stem": ["images"],
        "stem_relu": ["stem"],
        "pool": ["stem_relu"],
        "second": ["pool/dq"],
        "second_relu": ["second"],
        "third": ["second_relu/dq"],
        "output": ["third"],
    }


def test_of_an_addition_the_residual_alone_is_read_in_8_bits() -> None:
    reads = reads_of(made(PYRAMID))
    # The stem is float, but what it makes is read by a convolution in 8 bits.
    assert reads["identity_add"] == ["inner", "stem_relu/dq"]
    assert reads["projection_add"] == ["main/dq", "projection"]
    assert reads["merged"] == ["lateral", "up/dq"]
    assert reads["up"] == ["top/dq"]


def test_each_value_has_one_pair_and_shared_weights_are_stored_once() -> None:
    model = made(PYRAMID)
    kinds = Counter(node.op_type for node in model.graph.node)
    # stem_relu, block, main, projection_add, top, up, merged, smooth and smooth_top; w1 to w3, two
    # of lateral, two of smooth and one of the tower.
    assert kinds["QuantizeLinear"] == 9
    assert kinds["DequantizeLinear"] == 9 + 8
    onnx.checker.check_model(model, full_check=True)


def test_int8_is_symmetric_with_a_scale_per_weight_channel_and_float_biases() -> None:
    model = made(PYRAMID)
    held = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    assert held["block/scale"] == np.float32(4 / 127)
    assert held["block/zero"] == 0
    assert held["block/zero"].dtype == np.int8
    assert held["w1/q"].dtype == np.int8
    assert held["w1/scale"].shape == (64,)
    assert (np.abs(held["w1/q"]).max(axis=(1, 2, 3)) == 127).all()
    assert "w1" not in held  # stored in 8 bits alone
    assert held["bias"].dtype == np.float32
    source = {e.name: numpy_helper.to_array(e) for e in graph_of(PYRAMID).graph.initializer}
    scale = held["w1/scale"].reshape(-1, 1, 1, 1)
    assert (np.abs(held["w1/q"] * scale - source["w1"]) <= scale * 0.5001).all()


def test_fp8_has_one_scale_per_tensor_and_the_opset_that_knows_it() -> None:
    model = made(PYRAMID, "fp8")
    held = {entry.name: entry for entry in model.graph.initializer}
    assert held["w1/q"].data_type == TensorProto.FLOAT8E4M3FN
    assert not held["w1/scale"].dims
    assert numpy_helper.to_array(held["block/scale"]) == np.float32(4 / 448)
    assert model.opset_import[0].version == 19
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(("precision", "share"), [("int8", 0.03), ("fp8", 0.1)])
def test_result_is_near_the_float_graphs(precision: EightBits, share: float) -> None:
    graph = graph_of(PYRAMID)
    expected = session_of(graph.SerializeToString()).run(None, some_images())
    amax = {node.name: _amax(graph, node.name) for node in graph.graph.node}
    model = with_qdq(graph, Trunk(graph).nodes, amax, precision)
    found = session_of(model.SerializeToString()).run(None, some_images())
    for mine, theirs in zip(expected, found, strict=True):
        error = float(np.abs(mine - theirs).mean() / mine.std())
        assert 0 < error < share


def _amax(graph: onnx.ModelProto, name: str) -> float:
    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    probe.graph.output.append(onnx.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (value,) = session.run([name], some_images())
    return float(np.abs(value).max())
