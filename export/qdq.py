"""Q/DQ nodes as TensorRT wants them.

Source: TensorRT documentation, "Explicit Quantization" with its "Q/DQ Layer-Placement
Recommendations": all inputs of convolutions and none of their outputs; the residual input of an
addition, so that the addition joins the convolution before it and that one may write 8 bits; one
scale per activation, per channel for int8 weights; zero points 0; biases in float.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

FP8_OPSET = 19
"""The first whose QuantizeLinear knows float8e4m3fn."""

EightBits = Literal["int8", "fp8"]


class Grid(NamedTuple):
    """The values that 8 bits can hold: their numpy type, the greatest, and whether each output
    channel of a weight has a scale of its own.
    """

    dtype: Any
    greatest: float
    per_channel: bool

    def nearest(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """The nearest value that 8 bits can hold, ties to even."""
        whole = np.rint(values) if self.dtype is np.int8 else values
        return np.clip(whole, -self.greatest, self.greatest).astype(self.dtype)


GRIDS = {
    "int8": Grid(np.int8, 127.0, per_channel=True),
    "fp8": Grid(ml_dtypes.float8_e4m3fn, 448.0, per_channel=False),
}


def with_qdq(
    graph: onnx.ModelProto,
    nodes: Collection[str],
    amax: Mapping[str, float],
    precision: EightBits,
) -> onnx.ModelProto:
    """The float graph with those of its nodes in 8 bits that are named.

    `amax`: by value, the greatest absolute value seen. For fp8 the opset rises to 19.
    """
    model = copy.deepcopy(graph)
    if precision == "fp8":
        model = onnx.version_converter.convert_version(model, FP8_OPSET)
    chosen = [node for node in model.graph.node if node.name in nodes]
    pairs = _Pairs(model.graph, GRIDS[precision])
    for node, index in _activations(chosen):
        node.input[index] = pairs.of_activation(node.input[index], amax[node.input[index]])
    for node in chosen:
        if node.op_type == "Conv":
            node.input[1] = pairs.of_weight(node.input[1])
    pairs.insert()
    return model


def _activations(nodes: Iterable[onnx.NodeProto]) -> list[tuple[onnx.NodeProto, int]]:
    """What is read in 8 bits, as (node, index of its input). Clip and Relu join a convolution."""
    nodes = list(nodes)
    convs = [node for node in nodes if node.op_type == "Conv"]
    read = {conv.input[0] for conv in convs}
    made = {conv.output[0] for conv in convs}
    found = [(conv, 0) for conv in convs]
    for node in nodes:
        if node.op_type == "Add":
            # The residual is what convolutions read as well, or what none has made; of two
            # convolutions' outputs, as behind a projection, either will do.
            index = max((0, 1), key=lambda i: (node.input[i] in read, node.input[i] not in made))
            if node.input[1 - index] in made:
                found.append((node, index))
        elif node.op_type in ("MaxPool", "Resize") and node.input[0] in read:
            found.append((node, 0))  # it moves values about: no need of a copy in float
    return found


class _Pairs:
    """Q/DQ pairs in a graph: one for each value, however many nodes read it."""

    def __init__(self, graph: onnx.GraphProto, grid: Grid) -> None:
        self._graph, self._grid = graph, grid
        self._weights = {entry.name: entry for entry in graph.initializer}
        self._of: dict[str, list[onnx.NodeProto]] = {}
        """By value, its Q and DQ; of a weight DQ alone, as the graph holds it in 8 bits."""

    def of_activation(self, name: str, amax: float) -> str:
        """The name of a value behind its pair."""
        if name not in self._of:
            scale, zero = self._parameters(name, np.array(amax, np.float32))
            q, dq = f"{name}/q", f"{name}/dq"
            self._of[name] = [
                helper.make_node("QuantizeLinear", [name, scale, zero], [q], q),
                helper.make_node("DequantizeLinear", [q, scale, zero], [dq], dq),
            ]
        return str(self._of[name][-1].output[0])

    def of_weight(self, name: str) -> str:
        """The name of a weight [O, I, h, w] behind its DQ."""
        if name not in self._of:
            weight = numpy_helper.to_array(self._weights[name])
            amax = np.abs(weight).max(axis=(1, 2, 3) if self._grid.per_channel else None)
            scale, zero = self._parameters(name, amax)
            q, dq = f"{name}/q", f"{name}/dq"
            scales = numpy_helper.to_array(self._weights[scale]).reshape(-1, 1, 1, 1)
            self._constant(q, self._grid.nearest(weight / scales))
            self._of[name] = [
                helper.make_node("DequantizeLinear", [q, scale, zero], [dq], dq, axis=0)
            ]
        return str(self._of[name][-1].output[0])

    def insert(self) -> None:
        """Puts the pairs behind the values that they stand for, and drops weights without use."""
        nodes: list[onnx.NodeProto] = []
        for name in self._weights:
            nodes += self._of.get(name, [])
        for node in self._graph.node:
            nodes.append(node)
            for name in node.output:
                nodes += self._of.get(name, [])
        used = {name for node in nodes for name in node.input}
        weights = [w for name, w in self._weights.items() if name not in self._of or name in used]
        for held, wanted in ((self._graph.node, nodes), (self._graph.initializer, weights)):
            del held[:]
            held.extend(wanted)

    def _parameters(self, name: str, amax: NDArray[np.float32]) -> tuple[str, str]:
        """The names of the scale and the zero point of a value, one each or one per channel."""
        scale = np.maximum(amax / self._grid.greatest, np.finfo(np.float32).tiny)
        zero = np.zeros(scale.shape, self._grid.dtype)
        return self._constant(f"{name}/scale", scale), self._constant(f"{name}/zero", zero)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._weights[name] = numpy_helper.from_array(values, name)
        return name
