"""What quantization touches and what it leaves alone, read off the graph of `tiny_bundle`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import pytest

from export.inputs import drawn_pictures, feed_of, placed
from export.manifest import Bundle, Flavour
from export.plain_session import session_of
from export.qdq import EightBits
from export.quantize import Quantizer, quantized
from model.errors import InputError
from model.letterbox import Canvas
from tests.export.small_graphs import MANY_CLASSES, PYRAMID, RESNET, graph_of, some_images

CANVAS = Canvas(64, 96)
LAST_CLASS_CONV, LAST_BOX_CONV = 27, 36
"""Output channels: 9 anchors times 3 classes, or 4 deltas."""


class Graph(NamedTuple):
    proto: onnx.ModelProto
    nodes: list[onnx.NodeProto]
    maker: dict[str, onnx.NodeProto]
    weights: dict[str, onnx.TensorProto]

    @property
    def convs(self) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if node.op_type == "Conv"]

    def is_quantized(self, name: str) -> bool:
        return name in self.maker and self.maker[name].op_type == "DequantizeLinear"

    def channels(self, conv: onnx.NodeProto) -> int:
        name = conv.input[1]
        while name in self.maker:
            name = self.maker[name].input[0]
        return int(self.weights[name].dims[0])


def parsed(proto: onnx.ModelProto) -> Graph:
    nodes = list(proto.graph.node)
    maker = {output: node for node in nodes for output in node.output}
    return Graph(proto, nodes, maker, {entry.name: entry for entry in proto.graph.initializer})


@pytest.fixture(scope="module")
def floats(tiny_bundle: Bundle) -> Graph:
    return parsed(onnx.load(tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32"))))


@pytest.fixture(scope="module")
def int8(tiny_bundle: Bundle) -> Graph:
    return parsed(onnx.load(tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("int8"))))


def test_early_narrow_and_last_convolutions_stay_float_and_no_other(
    floats: Graph, int8: Graph
) -> None:
    assert len(int8.convs) == len(floats.convs)
    # Of MobileNetV2's first convolutions 0 to 4 read maps of stride 1 and 2; of those that follow
    # 5, 8, 11, 14 and 17 give 24 or 32 channels.
    early, narrow = {0, 1, 2, 3, 4}, {5, 8, 11, 14, 17}
    last = {
        number
        for number, conv in enumerate(int8.convs)
        if int8.channels(conv) in (LAST_CLASS_CONV, LAST_BOX_CONV)
    }
    assert len(last) == 2 * 5  # two subnets on five levels
    for number, conv in enumerate(int8.convs):
        kept = number in early | narrow | last
        assert int8.is_quantized(conv.input[1]) != kept, conv.name
    for number in (0, 1, 2, 3, 4, 5):  # nor what lies between them
        assert not int8.is_quantized(int8.convs[number].input[0]), number


def test_of_a_resnet_only_the_stem_stays_float() -> None:
    int8 = parsed(quantized(graph_of(RESNET), [some_images()]))
    stem, second, third, output = int8.convs
    pool = next(node for node in int8.nodes if node.op_type == "MaxPool")
    assert not int8.is_quantized(stem.input[0])
    assert not int8.is_quantized(stem.input[1])
    assert not int8.is_quantized(pool.input[0])
    for conv in (second, third):
        assert int8.is_quantized(conv.input[0])
        assert int8.is_quantized(conv.input[1])
    assert not int8.is_quantized(output.input[1])


def test_nothing_after_the_subnets_is_quantized(int8: Graph) -> None:
    after: set[str] = set()
    for node in int8.nodes:  # in topological order
        last = node.op_type == "Conv" and int8.channels(node) in (LAST_CLASS_CONV, LAST_BOX_CONV)
        if last or after & set(node.input):
            assert node.op_type not in ("QuantizeLinear", "DequantizeLinear"), node.name
            after |= set(node.output)
    assert {"num_detections", "boxes", "scores", "classes"} <= after


def test_every_quantized_convolution_has_a_bias_of_its_own(floats: Graph, int8: Graph) -> None:
    """Its scale depends on the input's, which differs between the levels that share a subnet."""
    shared = [conv.input[2] for conv in floats.convs if len(conv.input) == 3]
    assert len(set(shared)) < len(shared)
    biases = [
        int8.maker[conv.input[2]].input[0]
        for conv in int8.convs
        if len(conv.input) == 3 and int8.is_quantized(conv.input[2])
    ]
    assert len(biases) > 50
    assert len(set(biases)) == len(biases)


def test_weights_are_8_bits_per_channel_and_symmetric(int8: Graph) -> None:
    conv = next(c for c in int8.convs if int8.is_quantized(c.input[1]))
    values, scales, zeros = (int8.weights[name] for name in int8.maker[conv.input[1]].input)
    assert values.data_type == onnx.TensorProto.INT8
    assert list(scales.dims) == [values.dims[0]]
    assert not onnx.numpy_helper.to_array(zeros).any()


def test_file_is_less_than_half_as_large(tiny_bundle: Bundle) -> None:
    sizes = {
        g.precision: (tiny_bundle.folder / g.file).stat().st_size
        for g in tiny_bundle.manifest.graphs
    }
    assert sizes["int8"] < 0.5 * sizes["fp32"]


def test_thresholds_stay_optional_inputs(int8: Graph) -> None:
    session = session_of(int8.proto.SerializeToString())
    names = {given.name for given in session.get_overridable_initializers()}
    assert names == {"score_threshold", "iou_threshold", "max_detections"}
    feed = feed_of([placed(drawn_pictures(CANVAS, 1)[0], 64, [CANVAS])])
    some, *_ = session.run(None, feed)
    none, *_ = session.run(None, feed | {"score_threshold": np.array([0.9999], np.float32)})
    assert some[0] > 20
    assert none[0] == 0


def test_bounds_held_at_export(tiny_bundle: Bundle) -> None:
    parity = tiny_bundle.manifest.graph_of("int8").parity
    assert parity["unmatched_share"] <= 0.15
    assert parity["detections"] > 1000
    assert parity["worst_score"] > 0  # it is not the fp32 graph under another name


def test_quantizing_says_nothing_and_leaves_its_source_alone(
    floats: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    before = floats.proto.SerializeToString()
    feeds = [placed(drawn_pictures(CANVAS, 1)[0], 64, [CANVAS]).feed]
    quantized(floats.proto, feeds)
    assert capfd.readouterr() == ("", "")
    assert floats.proto.SerializeToString() == before


def test_broken_calibration_picture_is_bad_input(floats: Graph) -> None:
    def feeds():  # type: ignore[no-untyped-def]
        raise InputError("x.jpg: not a picture that can be decoded")
        yield

    with pytest.raises(InputError, match=r"x\.jpg"):
        quantized(floats.proto, feeds())


def outputs_of(graph: onnx.ModelProto) -> list[np.ndarray]:
    return session_of(graph.SerializeToString()).run(None, some_images())


@pytest.mark.parametrize(
    ("flavour", "precision", "share"),
    [("cpu", "int8", 0.03), ("tensor", "int8", 0.03), ("tensor", "fp8", 0.1)],
)
def test_result_is_near_the_float_graphs(
    flavour: Flavour, precision: EightBits, share: float
) -> None:
    graph = graph_of(PYRAMID)
    int8 = quantized(graph, [some_images()], flavour, precision)
    for mine, theirs in zip(outputs_of(graph), outputs_of(int8), strict=True):
        assert 0 < float(np.abs(mine - theirs).mean() / mine.std()) < share


@pytest.mark.parametrize("flavour", ["cpu", "tensor"])
def test_groups_that_are_not_asked_for_stay_float(flavour: Flavour) -> None:
    quantizer = Quantizer(graph_of(PYRAMID), [some_images()], flavour)
    part = parsed(quantizer.graph(["fpn.smooth"]))
    in_8_bits = {conv.name for conv in part.convs if part.is_quantized(conv.input[1])}
    assert in_8_bits == {"smooth", "smooth_top"}
    assert not any("Linear" in node.op_type for node in quantizer.graph([]).graph.node)


@pytest.mark.parametrize("flavour", ["cpu", "tensor"])
def test_logits_of_many_classes_are_in_8_bits_and_exact_where_it_matters(flavour: Flavour) -> None:
    graph = graph_of(MANY_CLASSES)
    int8 = quantized(graph, [some_images()], flavour)
    assert all(parsed(int8).is_quantized(conv.input[1]) for conv in parsed(int8).convs[-2:])
    for mine, theirs in zip(outputs_of(graph), outputs_of(int8), strict=True):
        assert mine.min() < -6.5  # else nothing would be cut off
        seen = mine > -6.0
        assert float(np.abs(mine - theirs)[seen].mean() / mine.std()) < 0.03
        if flavour == "cpu":
            assert float(theirs.min()) == pytest.approx(-6.0, abs=0.05)
        else:  # a GPU's convolution gives float
            assert float(theirs.min()) == pytest.approx(float(mine.min()), rel=0.05)


def test_biases_make_up_for_rounded_weights() -> None:
    graph = graph_of(RESNET)
    for entry in graph.graph.initializer:
        if entry.name == "w1":  # one great weight in each channel leaves few steps for the others
            weight = onnx.numpy_helper.to_array(entry).copy()
            weight[:, 0] = 20.0
            entry.CopyFrom(onnx.numpy_helper.from_array(weight, entry.name))
    quantizer = Quantizer(graph, [some_images()], "tensor")
    corrected = outputs_of(quantizer.graph())
    quantizer._shifts = {}
    (wanted,), (with_shift,), (without,) = (
        [value.mean(axis=(0, 2, 3)) for value in values]
        for values in (outputs_of(graph), corrected, outputs_of(quantizer.graph()))
    )
    assert np.abs(with_shift - wanted).mean() < 0.7 * np.abs(without - wanted).mean()


def test_quantized_or_half_precision_graph_is_bad_input() -> None:
    with pytest.raises(InputError, match="quantized already"):
        quantized(quantized(graph_of(RESNET), [some_images()]), [some_images()])
    half = graph_of(RESNET)
    for entry in half.graph.initializer:
        values = onnx.numpy_helper.to_array(entry).astype(np.float16)
        entry.CopyFrom(onnx.numpy_helper.from_array(values, entry.name))
    with pytest.raises(InputError, match="not float32"):
        quantized(half, [some_images()])


def test_fp8_for_cpu_is_bad_input() -> None:
    with pytest.raises(InputError, match="flavour tensor"):
        quantized(graph_of(RESNET), [some_images()], "cpu", "fp8")
