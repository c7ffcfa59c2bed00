"""The trunk of an exported graph, from backbone to subnets: what quantization may touch."""

from __future__ import annotations

import copy
import math
import re

import onnx

from model.letterbox import Canvas

NARROW_CHANNELS = 32
"""Convolutions with so few outputs stay in float. They are the early bottlenecks of MobileNetV2,
whose linear outputs all that follows is built on: left out, the cells model lost .0018 AP to 8 bits
instead of .0056, at the same speed. ResNets have none."""

LEAST_STRIDE = 4
"""What reads maps of a smaller stride stays in float: in a ResNet the stem, in MobileNetV2 all up
to the second bottleneck. Nearly all of the loss arises early: with this limit the detections of the
fp32 cells model (blood cells, val, scale 480) change by .0260 in box (mean of 1 - IoU) and .0080 in
score, with the stem alone in float by .0324 and .0096, for 3 % more time. A limit of 8 gives .0222
and .0070 for 7 %; the pyramid and the subnets lose nothing."""

OPERATORS = ("Conv", "Add", "Clip", "Relu", "MaxPool", "Resize")
"""What of the trunk can run in 8 bits; all else in it (shapes, group norms) never does."""

BACKBONE = "backbone"

_MODULE = re.compile(r"\bmodel\.(fpn\.\w+|(?:class|box)_head\.(?:tower\.\d+|output))\.")


class Trunk:
    """What of a graph can be quantized, in groups that share a fate.

    `graph`: the float graph, each convolution with a bias of its own. `groups`: node names by group
    in the graph's order: the backbone's stages by the stride that they read (`backbone/8`), the
    pyramid's and the subnets' convolutions by their name in the model, on all levels together
    (`fpn.lateral`, `class_head.tower.0`). What follows a convolution belongs to its group.
    """

    def __init__(self, graph: onnx.ModelProto) -> None:
        self.graph = _with_own_biases(graph)
        self._weights = {entry.name: entry.dims for entry in self.graph.graph.initializer}
        self._strides = _strides(self.graph)
        self.groups: dict[str, list[str]] = {}
        self.group_of_value: dict[str, str] = {}
        """By the value that a node of the group makes."""
        self.ends: list[str] = []
        """The outputs of the last convolutions, behind which nothing is quantized."""
        self.wide_ends: list[str] = []
        """Those with more channels than their input: the logits of many classes. They alone are
        worth quantizing: of ResNet-50 with 80 classes a seventh of all work, and in float a third
        of the time of what else is in 8 bits. Others hold box deltas, or logits of a few classes.
        """
        self._collect()

    @property
    def nodes(self) -> list[str]:
        """Names of all nodes that can be quantized."""
        return [name for members in self.groups.values() for name in members]

    def work(self, canvas: Canvas) -> dict[str, int]:
        """Multiply-accumulates of each group for one picture on a canvas; under "" of the rest."""
        group_of = {name: group for group, members in self.groups.items() for name in members}
        work = dict.fromkeys([*self.groups, ""], 0)
        for node in self.graph.graph.node:
            if node.op_type == "Conv":
                height, width = (math.ceil(s / self._strides[node.output[0]]) for s in canvas)
                per_place = math.prod(self._weights[node.input[1]])
                work[group_of.get(node.name, "")] += per_place * height * width
        return work

    def _collect(self) -> None:
        before_conv = _before_convolutions(self.graph)
        group_of = self.group_of_value
        for node in self.graph.graph.node:  # in topological order
            is_conv = node.op_type == "Conv"
            if not before_conv & set(node.output):
                if is_conv:
                    self.ends += node.output
                    outputs, inputs = self._weights[node.input[1]][:2]
                    if outputs > max(inputs, NARROW_CHANNELS):
                        self.wide_ends += node.output
                        self.groups.setdefault(self._group(node), []).append(node.name)
                continue
            if node.op_type not in OPERATORS or _stride_read(node, self._strides) < LEAST_STRIDE:
                continue
            if is_conv and self._weights[node.input[1]][0] <= NARROW_CHANNELS:
                continue
            makers = [group_of[name] for name in node.input if name in group_of]
            group = makers[0] if makers and not is_conv else self._group(node)
            group_of.update(dict.fromkeys(node.output, group))
            self.groups.setdefault(group, []).append(node.name)

    def _group(self, node: onnx.NodeProto) -> str:
        # Weights of the pyramid and the subnets keep their names; the backbone's are folded with
        # their norms into new ones. What else comes here stands behind convolutions in float.
        module = _MODULE.search(node.input[1]) if node.op_type == "Conv" else None
        if module is None:
            return f"{BACKBONE}/{_stride_read(node, self._strides)}"
        return module[1]


def _before_convolutions(graph: onnx.ModelProto) -> set[str]:
    """Names of the values that some convolution depends on."""
    before: set[str] = set()
    for node in reversed(graph.graph.node):
        if node.op_type == "Conv" or before & set(node.output):
            before |= set(node.input)
    return before


def _strides(graph: onnx.ModelProto) -> dict[str, int]:
    """By value that depends on the pictures, how many canvas pixels a step in it is.

    Upsampling counts for nothing: what follows it adds a map of the right stride, the least counts.
    """
    strides = {"images": 1}
    for node in graph.graph.node:
        if (stride := _stride_read(node, strides)) > 0:
            if node.op_type in ("Conv", "MaxPool"):
                stride *= next((a.ints[0] for a in node.attribute if a.name == "strides"), 1)
            strides.update(dict.fromkeys(node.output, stride))
    return strides


def _stride_read(node: onnx.NodeProto, strides: dict[str, int]) -> int:
    """The least stride of the maps that a node reads; 0 if it reads none."""
    return min((strides[name] for name in node.input if name in strides), default=0)


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
