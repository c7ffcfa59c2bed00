"""Biases that make up for rounded weights.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(2019), sec. 4.2: rounding moves the mean of what a convolution makes, and its bias can take that
back. Departs: the mean is not derived from batch norms but measured on pictures.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ValueInfoProto, helper, numpy_helper

from export.calibration import Feed, quiet

Shifts = Mapping[str, NDArray[np.float32]]
"""By convolution, how far its output's mean moves, per channel."""


def mean_shifts(
    graph: onnx.ModelProto, quantized: onnx.ModelProto, feeds: Iterable[Feed]
) -> Shifts:
    """What rounding the weights does to each convolution of the float graph, over `feeds`."""
    errors = _weight_errors(graph, quantized)
    with quiet():
        probe = onnxruntime.InferenceSession(
            _with_errors(graph, errors).SerializeToString(), providers=["CPUExecutionProvider"]
        )
    means = [probe.run([f"{name}/mean" for name in errors], feed) for feed in feeds]
    return {
        name: np.mean(own, axis=0)
        for name, own in zip(errors, zip(*means, strict=True), strict=True)
    }


def with_corrected_biases(graph: onnx.ModelProto, shifts: Shifts) -> onnx.ModelProto:
    """The float graph with these shifts taken off the biases, each of one convolution alone."""
    graph = copy.deepcopy(graph)
    held = {entry.name: entry for entry in graph.graph.initializer}
    for node in graph.graph.node:
        if (shift := shifts.get(node.name)) is None:
            continue
        if len(node.input) < 3:
            node.input.append(f"{node.name}/bias")
            graph.graph.initializer.append(numpy_helper.from_array(-shift, node.input[2]))
        else:
            bias = held[node.input[2]]
            bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - shift, bias.name))
    return graph


def _weight_errors(
    graph: onnx.ModelProto, quantized: onnx.ModelProto
) -> dict[str, NDArray[np.float32]]:
    """By convolution with 8-bit weights [O, I, h, w], those minus the float ones."""
    held = {entry.name: entry for model in (graph, quantized) for entry in model.graph.initializer}
    made_by = {node.output[0]: node for node in quantized.graph.node}
    float_weight = {n.name: n.input[1] for n in graph.graph.node if n.op_type == "Conv"}
    errors = {}
    for node in quantized.graph.node:
        if node.op_type == "Conv" and node.input[1] in made_by:
            rounded, scale = (
                numpy_helper.to_array(held[name]).astype(np.float32)
                for name in made_by[node.input[1]].input[:2]
            )
            weight = numpy_helper.to_array(held[float_weight[node.name]])
            errors[node.name] = rounded * scale.reshape(-1, 1, 1, 1) - weight
    return errors


def _with_errors(
    graph: onnx.ModelProto, errors: Mapping[str, NDArray[np.float32]]
) -> onnx.ModelProto:
    """The float graph with the mean of each error's convolution, [O], as its outputs."""
    graph = copy.deepcopy(graph)
    places = numpy_helper.from_array(np.array([0, 2, 3], np.int64), "places")
    convs = [node for node in graph.graph.node if node.name in errors]
    del graph.graph.output[:]
    graph.graph.initializer.append(places)
    for conv in convs:
        weight, error, mean = (f"{conv.name}/{part}" for part in ("rounding", "error", "mean"))
        beside = copy.deepcopy(conv)
        beside.name = beside.output[0] = error
        del beside.input[1:]
        beside.input.append(weight)
        reduced = helper.make_node("ReduceMean", [error, places.name], [mean], mean, keepdims=0)
        graph.graph.node.extend([beside, reduced])
        graph.graph.initializer.append(numpy_helper.from_array(errors[conv.name], weight))
        graph.graph.output.append(ValueInfoProto(name=mean))
    return graph
