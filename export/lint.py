"""What an exporter may quietly do to a graph, found by looking at the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, numpy_helper

from export.contract import DELTAS, INPUTS, LOGITS, OPTIONAL_INPUTS, OUTPUTS, STAGES
from export.manifest import Flavour, Precision

MOST_TOP_K = 3840
"""TensorRT's limit."""

MOST_CONSTANT_BYTES = 2**18
"""Constants that are no weights are tables of anchor sizes and rows of numbers: 20,000 bytes at
most. What they are not to be is a matrix of pairs: 1,000,000 bytes for one block of NMS."""

LOOPS = {"Loop", "If", "Scan"}
"""No accelerator captures them in one launch."""

DATA_SIZED = {"NonZero", "Unique", "Compress"}
"""What they return has a size that only the data decide."""

MOVES = {"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}

INTEGERS = {TensorProto.INT32, TensorProto.INT64}

TYPES = {
    "images": TensorProto.UINT8,
    "image_sizes": TensorProto.INT64,
    "score_threshold": TensorProto.FLOAT,
    "iou_threshold": TensorProto.FLOAT,
    "max_detections": TensorProto.INT64,
    "num_detections": TensorProto.INT64,
    "boxes": TensorProto.FLOAT,
    "scores": TensorProto.FLOAT,
    "classes": TensorProto.INT64,
    "converged": TensorProto.BOOL,
    "candidate_boxes": TensorProto.FLOAT,
    "candidate_scores": TensorProto.FLOAT,
    "candidate_classes": TensorProto.INT64,
}


def faults_of(model: onnx.ModelProto, flavour: Flavour, precision: Precision) -> list[str]:
    """What is wrong with an exported graph, a sentence each that names the node; [] if nothing."""
    graph = _Graph(model)
    return [fault for check in CHECKS for fault in check(graph, flavour, precision)]


class _Graph:
    """An ONNX graph with what the checks ask of it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.maker = {output: node for node in self.nodes for output in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    @cached_property
    def initializers(self) -> dict[str, TensorProto]:
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def values(self) -> dict[str, ValueInfoProto]:
        """Every value by name, with its type where that can be inferred."""
        graph = onnx.shape_inference.infer_shapes(self.model).graph
        return {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}

    def type_of(self, name: str) -> int:
        """The element type; UNDEFINED where it is not known."""
        if name in self.initializers:
            return self.initializers[name].data_type
        value = self.values.get(name)
        return value.type.tensor_type.elem_type if value else TensorProto.UNDEFINED

    def constant(self, name: str) -> TensorProto | None:
        """What a value holds, if the file alone says it."""
        if name in self.initializers:
            return None if name in OPTIONAL_INPUTS else self.initializers[name]
        node = self.maker.get(name)
        if node is None or node.op_type != "Constant":
            return None
        # Others than a tensor (value_ints, value_float, ...) are a few numbers.
        return next((part.t for part in node.attribute if part.name == "value"), None)

    def of_types(self, kinds: set[str]) -> Iterator[NodeProto]:
        return (node for node in self.nodes if node.op_type in kinds)

    def origin(self, name: str, moves: set[str]) -> str:
        """Where a value comes from, before nodes that only `moves` it."""
        while (node := self.maker.get(name)) is not None and node.op_type in moves:
            name = node.input[0]
        return name


_Check = Callable[[_Graph, Flavour, Precision], Iterator[str]]


def _names(graph: _Graph, flavour: Flavour, _: Precision) -> Iterator[str]:
    parts = graph.model.graph
    for role, found, wanted in (
        ("inputs", parts.input, INPUTS),
        ("outputs", parts.output, OUTPUTS[flavour]),
    ):
        names = tuple(value.name for value in found)
        if names != wanted:
            yield f"the {role} are {', '.join(names)}; they must be {', '.join(wanted)}"
    for name in STAGES:
        if name not in graph.maker:
            yield f"no node makes {name}, which `verify` asks for"


def _types(graph: _Graph, _: Flavour, precision: Precision) -> Iterator[str]:
    for name, wanted in TYPES.items():
        if name in graph.values and graph.type_of(name) != wanted:
            yield f"{name} is {_named(graph.type_of(name))}; it must be {_named(wanted)}"
    for node in graph.nodes:
        for name in node.output:
            if graph.type_of(name) == TensorProto.DOUBLE:
                yield f"{_told(node)} makes float64, which accelerators lack or do slowly"
    for name, tensor in graph.initializers.items():
        if tensor.data_type == TensorProto.DOUBLE:
            yield f"the constant {name} is float64, which accelerators lack or do slowly"
    trunk = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}.get(precision)
    known = (trunk, TensorProto.UNDEFINED)
    for node in graph.of_types({"Conv"}):
        if trunk is not None and (found := graph.type_of(node.input[0])) not in known:
            yield f"{_told(node)} computes in {_named(found)}, in a graph of {precision}"


def _decode(graph: _Graph, _: Flavour, __: Precision) -> Iterator[str]:
    """Past the network everything but a look at its outputs is float32."""
    after = {*LOGITS, *DELTAS}
    for node in graph.nodes:  # in topological order
        if after.isdisjoint(node.input):
            continue
        after.update(node.output)
        if node.op_type in {"Exp", "Sigmoid", "TopK", "NonMaxSuppression"}:
            found = graph.type_of(node.input[0])
            if found not in (TensorProto.FLOAT, TensorProto.UNDEFINED):
                yield f"{_told(node)} computes in {_named(found)}; boxes and scores are float32"


def _dynamic(graph: _Graph, _: Flavour, __: Precision) -> Iterator[str]:
    symbols = {}
    for value in (*graph.model.graph.input, *graph.model.graph.output):
        if value.name in OPTIONAL_INPUTS:
            continue
        sides = value.type.tensor_type.shape.dim
        symbols[value.name] = sides[0].dim_param if sides else ""
        if not symbols[value.name]:
            yield f"the batch size of {value.name} is baked in; it must be a symbol"
        if value.name == "images" and not all(side.dim_param for side in sides[1:3]):
            yield "the canvas of images is baked in; its sides must be symbols"
    if len(set(symbols.values())) > 1:
        yield f"inputs and outputs disagree on the batch size: {symbols}"


def _inputs(graph: _Graph, _: Flavour, __: Precision) -> Iterator[str]:
    for node in graph.readers.get("images", []):
        if node.op_type not in {"Cast", "Shape"}:
            yield f"{_told(node)} reads images before a Cast: TensorRT has uint8 as an input alone"
    for name in OPTIONAL_INPUTS:
        if name not in graph.initializers:
            yield f"{name} has no default: it must be an initializer as well as an input"
        if name not in graph.readers:
            yield f"no node reads {name}: a caller's value would be ignored"


def _operators(graph: _Graph, flavour: Flavour, _: Precision) -> Iterator[str]:
    for function in graph.model.functions:
        yield f"the function {function.name} hides nodes from the linter: inline it"
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx", "com.microsoft"):
            yield f"{_told(node)} is of {node.domain}, which no runtime knows"
        if node.op_type in LOOPS:
            yield f"{_told(node)} branches or repeats at run time"
        if node.op_type in DATA_SIZED or "Sequence" in node.op_type:
            yield f"{_told(node)} returns what has no static shape"
        if node.op_type == "NonMaxSuppression":
            if flavour == "tensor":
                yield f"{_told(node)} has no place in the tensor flavour"
            cap = graph.constant(node.input[2]) if len(node.input) > 2 else None
            if cap is None or not _most(cap) > 0:
                yield f"{_told(node)} is given no cap: the default of 0 keeps nothing"


def _top_k(graph: _Graph, flavour: Flavour, _: Precision) -> Iterator[str]:
    for node in graph.of_types({"TopK"}):
        k = graph.constant(node.input[1])
        if k is None:
            yield f"{_told(node)} has no constant k: its result has no static shape"
        elif flavour == "tensor" and _most(k) > MOST_TOP_K:
            yield f"{_told(node)} has k = {_most(k):.0f}; TensorRT's limit is {MOST_TOP_K}"


def _indices(graph: _Graph, _: Flavour, __: Precision) -> Iterator[str]:
    """An index that is divided as a float is wrong above 2^24."""
    for node in graph.of_types({"Floor", "Ceil", "Round"}):
        yield f"{_told(node)} rounds: divide whole numbers as such"
    for node in graph.of_types({"Div", "Mod"}):
        if graph.type_of(node.output[0]) not in INTEGERS:
            for name in node.input:
                if graph.type_of(graph.origin(name, MOVES)) in INTEGERS:
                    yield f"{_told(node)} divides whole numbers as floats"
                    break


def _constants(graph: _Graph, _: Flavour, __: Precision) -> Iterator[str]:
    weights = {
        graph.origin(node.input[1], MOVES | {"DequantizeLinear", "QuantizeLinear"})
        for node in graph.of_types({"Conv", "ConvInteger", "QLinearConv", "Gemm"})
    }
    names = {*graph.initializers, *(node.output[0] for node in graph.of_types({"Constant"}))}
    for name in sorted(names - weights):
        tensor = graph.constant(name)
        if tensor is not None and tensor.ByteSize() > MOST_CONSTANT_BYTES:
            reader = ", ".join(_told(node) for node in graph.readers.get(name, [])) or "no node"
            yield f"{name}, read by {reader}, is a constant of {tensor.ByteSize()} bytes, no weight"


CHECKS: tuple[_Check, ...] = (
    _names, _types, _decode, _dynamic, _inputs, _operators, _top_k, _indices, _constants,
)  # fmt: skip


def _most(constant: TensorProto) -> float:
    return float(numpy_helper.to_array(constant).max())


def _named(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()


def _told(node: NodeProto) -> str:
    return f"{node.name or node.output[0]} ({node.op_type})"
