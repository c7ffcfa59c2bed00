"""A graph file as TensorRT takes it, and what of it a refit may change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class PreparedGraph:
    """An ONNX file for TensorRT's parser.

    `skeleton`: a hash of all but the content of the initializers. `weights`: a hash of each
    initializer by name. Two graphs of one skeleton differ in weights alone.
    """

    content: bytes
    skeleton: str
    weights: dict[str, str]
    metadata: dict[str, str]


def prepared(content: bytes) -> PreparedGraph:
    """The graph without default values of inputs.

    An optional input is an initializer of the same name, and TensorRT's parser takes an initializer
    for a constant: the plan would not have the input at all.
    """
    model = onnx.load_model_from_string(content)
    inputs = {value.name for value in model.graph.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in inputs]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    stripped = model.SerializeToString(deterministic=True)
    weights = {tensor.name: _hash(onnx.numpy_helper.to_array(tensor).tobytes()) for tensor in kept}
    for tensor in model.graph.initializer:
        shape, kind, name = list(tensor.dims), tensor.data_type, tensor.name
        tensor.Clear()
        tensor.name, tensor.data_type = name, kind
        tensor.dims.extend(shape)
    skeleton = _hash(model.SerializeToString(deterministic=True))
    return PreparedGraph(stripped, skeleton, weights, metadata)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
