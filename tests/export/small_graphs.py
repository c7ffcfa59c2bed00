"""Float graphs of a few 1x1 convolutions of 64 channels, written as a table."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Row = tuple[str, str, str, int]
"""What a node makes (its name as well), its operator, what it reads, its stride."""

RESNET: list[Row] = [
    ("stem", "Conv", "images w0", 2),
    ("stem_relu", "Relu", "stem", 1),
    ("pool", "MaxPool", "stem_relu", 2),
    ("second", "Conv", "pool w1", 1),
    ("second_relu", "Relu", "second", 1),
    ("third", "Conv", "second_relu w2", 2),
    ("output", "Conv", "third w3", 1),
]
"""A stem of stride 2, a pool, two convolutions at stride 4, and the last."""

PYRAMID: list[Row] = [
    ("stem", "Conv", "images w0", 4),
    ("stem_relu", "Relu", "stem", 1),
    ("inner", "Conv", "stem_relu w1", 1),
    ("identity_add", "Add", "inner stem_relu", 1),
    ("block", "Relu", "identity_add", 1),
    ("main", "Conv", "block w2", 2),
    ("projection", "Conv", "block w3", 2),
    ("projection_add", "Add", "main projection", 1),
    ("top", "Conv", "projection_add model.fpn.lateral.1.weight", 1),
    ("up", "Resize", "top", 1),
    ("lateral", "Conv", "block model.fpn.lateral.0.weight", 1),
    ("merged", "Add", "lateral up", 1),
    ("smooth", "Conv", "merged model.fpn.smooth.0.weight", 1),
    ("smooth_top", "Conv", "top model.fpn.smooth.1.weight", 1),
    ("tower", "Conv", "smooth model.class_head.tower.0.weight bias", 1),
    ("tower_top", "Conv", "smooth_top model.class_head.tower.0.weight bias", 1),
    ("output", "Conv", "tower w4", 1),
    ("output_top", "Conv", "tower_top w4", 1),
]
"""Two blocks, the second with a projection, two pyramid levels, and a subnet that they share."""

LOGITS_WEIGHT = "model.class_head.output.weight"
"""A weight of this name has 96 output channels and makes large values: logits of many classes."""

MANY_CLASSES: list[Row] = [
    (name, operator, reads.replace("w4", LOGITS_WEIGHT), stride)
    for name, operator, reads, stride in PYRAMID
]


def graph_of(rows: list[Row]) -> onnx.ModelProto:
    """The graph of a table: `images` float32 [1, 3, 32, 32], outputs those that nothing reads."""
    random = np.random.default_rng(0)
    weights = {"scales": np.array([1, 1, 2, 2], np.float32)}
    nodes = []
    for name, operator, reads, stride in rows:
        inputs = reads.split()
        attributes = {"strides": [stride] * 2} if operator in ("Conv", "MaxPool") else {}
        if operator == "MaxPool":
            attributes["kernel_shape"] = [2, 2]
        if operator == "Conv":
            channels = 3 if inputs[0] == "images" else 64
            made, part = (96, 2) if inputs[1] == LOGITS_WEIGHT else (64, 8)
            weight = random.normal(size=(made, channels, 1, 1)).astype(np.float32)
            weights[inputs[1]] = weight / part
            weights |= {bias: random.normal(size=64).astype(np.float32) for bias in inputs[2:]}
        if operator == "Resize":
            inputs += ["", "scales"]
        nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
    read = {name for node in nodes for name in node.input}
    shape = [1, None, None, None]
    outputs = [
        helper.make_tensor_value_info(node.name, TensorProto.FLOAT, shape)
        for node in nodes
        if node.name not in read
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph(
        nodes,
        "small",
        [images],
        outputs,
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def some_images(seed: int = 1) -> dict[str, np.ndarray]:
    """An input for such a graph."""
    return {"images": np.random.default_rng(seed).normal(size=(1, 3, 32, 32)).astype(np.float32)}
