"""INT8 for CPU: static quantization of the network's trunk, decode untouched."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

Feed = dict[str, NDArray[Any]]

_ORT_WARNING, _ORT_ERROR = 2, 3
"""ONNX Runtime's log severities."""

NARROW_CHANNELS = 32
"""Convolutions with so few outputs stay in float. They are the early bottlenecks of MobileNetV2,
whose linear outputs all that follows is built on: left out, the cells model lost .0018 AP to 8 bits
instead of .0056, at the same speed. ResNets have none but the stem."""

_QUANTIZED_OPERATORS = ["Conv", "Add", "Clip", "Relu", "MaxPool", "Resize"]


def quantized(graph: onnx.ModelProto, feeds: Iterable[Feed]) -> onnx.ModelProto:
    """The graph with its convolutions, and what sits between them, in 8 bits.

    Weights per channel and symmetric, activations per tensor, ranges from running `feeds` (inputs
    like those to be served). The stem, the narrow convolutions and the last one of each subnet stay
    in float: the first sees the whole range of the picture, the last hold the class prior and the
    box deltas, and together they are a few percent of the work. Everything after the subnets is
    float32 as before.
    """
    prepared = _with_own_biases(graph)
    trunk = _trunk(prepared)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(prepared, source)
        with _quiet():
            quantize_static(
                source,
                target,
                _Feeds(feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTIZED_OPERATORS,
                nodes_to_quantize=trunk,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # The whole range seen: a moving average of it cost the cells model .004 AP.
                calibrate_method=CalibrationMethod.MinMax,
            )
        return onnx.load(target)


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from the user what the quantizer and its sessions say of a graph that is as meant."""
    logging.getLogger().addFilter(_no_preprocess_hint)
    # "Initializer score_threshold appears in graph inputs": that is what makes it optional.
    onnxruntime.set_default_logger_severity(_ORT_ERROR)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_ORT_WARNING)  # its default; it can't be asked
        logging.getLogger().removeFilter(_no_preprocess_hint)


def _no_preprocess_hint(record: logging.LogRecord) -> bool:
    # The exporter has folded and inferred already what the hint asks to pre-process.
    return "pre-process" not in record.getMessage()


def _with_own_biases(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with a bias of its own for each convolution.

    The subnets share weights over five levels. A quantized bias depends on the scale of its input,
    which differs between levels, so that one shared bias would be right on one level only.
    """
    graph = copy.deepcopy(graph)
    initializers = {entry.name: entry for entry in graph.graph.initializer}
    seen: set[str] = set()
    for node in graph.graph.node:
        if node.op_type != "Conv" or len(node.input) < 3:
            continue
        name = node.input[2]
        if name in seen:
            own = copy.deepcopy(initializers[name])
            own.name = f"{name}/{node.name}"
            graph.graph.initializer.append(own)
            node.input[2] = own.name
        seen.add(name)
    return graph


def _trunk(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes to quantize: those between the stem and the subnets' last convolutions."""
    nodes = list(graph.graph.node)
    outputs_of = {entry.name: entry.dims[0] for entry in graph.graph.initializer if entry.dims}
    maker = {output: index for index, node in enumerate(nodes) for output in node.output}
    parents = [{maker[name] for name in node.input if name in maker} for node in nodes]
    convs = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    after_conv: set[int] = set()
    for index in range(len(nodes)):  # nodes are in topological order
        if any(nodes[p].op_type == "Conv" or p in after_conv for p in parents[index]):
            after_conv.add(index)
    before_conv: set[int] = set()
    stack = [parent for index in convs for parent in parents[index]]
    while stack:
        index = stack.pop()
        if index not in before_conv:
            before_conv.add(index)
            stack.extend(parents[index])
    return [
        nodes[index].name
        for index in sorted(after_conv & before_conv)
        if index not in convs or outputs_of[nodes[index].input[1]] > NARROW_CHANNELS
    ]
