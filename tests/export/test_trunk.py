"""What of a graph can be quantized, in which groups, and what each costs."""

from __future__ import annotations

import onnx

from export.manifest import Bundle
from export.trunk import Trunk
from model.letterbox import Canvas
from tests.export.small_graphs import MANY_CLASSES, PYRAMID, RESNET, graph_of


def test_of_a_resnet_all_is_taken_but_stem_and_output() -> None:
    assert Trunk(graph_of(RESNET)).groups == {"backbone/4": ["second", "second_relu", "third"]}


def test_groups_are_stages_pyramid_parts_and_subnet_layers_over_all_levels() -> None:
    assert Trunk(graph_of(PYRAMID)).groups == {
        # What stands behind the stem is listed too: it is the quantizer's affair that it reads
        # nothing in 8 bits.
        "backbone/4": [
            *("stem_relu", "inner", "identity_add", "block"),
            *("main", "projection", "projection_add"),
        ],
        "fpn.lateral": ["top", "up", "lateral", "merged"],
        "fpn.smooth": ["smooth", "smooth_top"],
        "class_head.tower.0": ["tower", "tower_top"],
    }


def test_groups_of_an_exported_graph(tiny_bundle: Bundle) -> None:
    graph = onnx.load(tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32")))
    assert list(Trunk(graph).groups) == [
        *("backbone/4", "backbone/8", "backbone/16", "backbone/32"),
        *("fpn.lateral", "fpn.smooth", "fpn.p6", "fpn.p7"),
        *("class_head.tower.0", "box_head.tower.0"),
    ]


def test_ends_are_the_last_convolutions_outputs() -> None:
    assert Trunk(graph_of(PYRAMID)).ends == ["output", "output_top"]


def test_logits_of_many_classes_are_a_group_and_others_are_not() -> None:
    trunk = Trunk(graph_of(MANY_CLASSES))
    assert trunk.groups["class_head.output"] == ["output", "output_top"]
    assert trunk.ends == trunk.wide_ends == ["output", "output_top"]
    assert Trunk(graph_of(PYRAMID)).wide_ends == []


def test_narrow_convolution_and_its_activation_stay_float() -> None:
    graph = graph_of(RESNET)
    weights = {entry.name: entry for entry in graph.graph.initializer}
    weights["w1"].dims[0], weights["w2"].dims[1] = 32, 32
    for name in ("w1", "w2"):
        weights[name].raw_data = weights[name].raw_data[: 32 * 64 * 4]
    assert Trunk(graph).groups == {"backbone/4": ["second_relu", "third"]}


def test_work_is_counted_at_each_groups_stride() -> None:
    work = Trunk(graph_of(PYRAMID)).work(Canvas(32, 64))
    at_4, at_8 = 8 * 16 * 64 * 64, 4 * 8 * 64 * 64  # places x weights
    assert work == {
        "backbone/4": at_4 + 2 * at_8,
        "fpn.lateral": at_4 + at_8,
        "fpn.smooth": at_4 + at_8,
        "class_head.tower.0": at_4 + at_8,
        "": 8 * 16 * 64 * 3 + at_4 + at_8,
    }


def test_each_convolution_gets_a_bias_of_its_own_with_the_same_values() -> None:
    source = graph_of(PYRAMID)
    graph = Trunk(source).graph
    own = [
        node.input[2]
        for node in graph.graph.node
        if len(node.input) == 3 and node.input[2] != "scales"
    ]
    assert own == ["bias", "bias/tower_top"]
    values = {entry.name: entry.raw_data for entry in graph.graph.initializer}
    assert values["bias"] == values["bias/tower_top"]
    assert "bias/tower_top" not in {entry.name for entry in source.graph.initializer}
