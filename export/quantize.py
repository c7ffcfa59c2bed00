"""8 bits for the network's trunk: ranges from pictures, decode untouched."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType

from export.bias import Shifts, mean_shifts, with_corrected_biases
from export.calibration import Feed, alone, quiet, ranges_of
from export.contract import LEAST_LOGIT
from export.manifest import Flavour
from export.qdq import EightBits, with_qdq
from export.trunk import OPERATORS, Trunk
from model.errors import InputError


class Quantizer:
    """A float graph with the ranges of its values: gives it in 8 bits, all of it or in part.

    `feeds`: inputs like those to be served. Each group of `trunk.groups` can stay in float. What
    reads maps of a stride below 4, narrow convolutions and the last one of each subnet always do:
    the last hold the class prior and the box deltas; but for the logits of many classes
    (`Trunk.wide_ends`). Everything after the subnets is as before.
    Biases make up for what rounding does to the weights: on the cells model (24 val pictures, scale
    480) the fp32 graph's detections change by .0275 in box (mean of 1 - IoU) and .0080 in score,
    without it by .0337 and .0093.
    Raises InputError if the graph is not a float32 one.
    """

    def __init__(
        self,
        graph: onnx.ModelProto,
        feeds: Iterable[Feed],
        flavour: Flavour = "cpu",
        precision: EightBits = "int8",
    ) -> None:
        _check_float(graph)
        if flavour == "cpu" and precision == "fp8":
            raise InputError("fp8 is for flavour tensor: CPUs have no 8-bit floating point")
        self.trunk = Trunk(graph)
        self.flavour, self.precision = flavour, precision
        self._shifts: Shifts = {}
        some: list[Feed] = []
        self._ranges = ranges_of(self.trunk, _keeping_some(feeds, some))
        for name in self.trunk.wide_ends:
            data = self._ranges[name]
            data.lowest = np.maximum(data.lowest, np.float32(LEAST_LOGIT))
        self._shifts = mean_shifts(alone(self.trunk), self.graph(), some)

    def graph(self, groups: Collection[str] | None = None) -> onnx.ModelProto:
        """The graph with these groups in 8 bits; with all of them by default."""
        chosen = self.trunk.groups if groups is None else groups
        nodes = [name for group in chosen for name in self.trunk.groups[group]]
        shifts = {name: shift for name, shift in self._shifts.items() if name in nodes}
        graph = with_corrected_biases(self.trunk.graph, shifts)
        if not nodes:
            return graph
        return self._for_cpu(graph, nodes) if self.flavour == "cpu" else self._qdq(graph, nodes)

    def _qdq(self, graph: onnx.ModelProto, nodes: list[str]) -> onnx.ModelProto:
        amax = {
            name: max(abs(float(limit.item())) for limit in data.range_value)
            for name, data in self._ranges.items()
        }
        return with_qdq(graph, nodes, amax, self.precision)

    def _for_cpu(self, graph: onnx.ModelProto, nodes: list[str]) -> onnx.ModelProto:
        """Activations in 8 bits without sign per tensor, weights with sign per channel."""
        with quiet():
            quantizer = QDQQuantizer(
                onnx.shape_inference.infer_shapes(graph),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=copy.deepcopy(self._ranges),  # it adjusts them
                nodes_to_quantize=nodes,
                nodes_to_exclude=[],
                op_types_to_quantize=list(OPERATORS),
                extra_options={},
            )
            quantizer.quantize_model()
        quantizer.model.topological_sort()
        model: onnx.ModelProto = quantizer.model.model
        return model


def quantized(
    graph: onnx.ModelProto,
    feeds: Iterable[Feed],
    flavour: Flavour = "cpu",
    precision: EightBits = "int8",
) -> onnx.ModelProto:
    """The graph with all in 8 bits that can be; see `Quantizer`."""
    return Quantizer(graph, feeds, flavour, precision).graph()


def _keeping_some(feeds: Iterable[Feed], kept: list[Feed]) -> Iterator[Feed]:
    """All of `feeds`, every fourth of which goes into `kept` too."""
    for number, feed in enumerate(feeds):
        if number % 4 == 0:
            kept.append(feed)
        yield feed


def _check_float(graph: onnx.ModelProto) -> None:
    if any(node.op_type == "DequantizeLinear" for node in graph.graph.node):
        raise InputError("the graph is quantized already: quantization starts from an fp32 graph")
    kinds = {entry.data_type for entry in graph.graph.initializer if len(entry.dims) == 4}
    if kinds - {onnx.TensorProto.FLOAT}:
        raise InputError(
            "the graph's weights are not float32: quantization starts from an fp32 graph"
        )
