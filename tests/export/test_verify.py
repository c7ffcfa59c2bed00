"""`verify` passes a graph that equals its model and catches each way of departing from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.verify
from export.engines.session import Detections
from export.inputs import Placed, drawn_pictures, placed
from export.manifest import Bundle, Thresholds
from export.plain_session import PlainSession
from export.verify import VerificationError, verify
from model.checkpoint import Checkpoint, load_checkpoint
from model.geometry import AnchorSpec
from model.letterbox import Canvas

CANVAS = Canvas(96, 128)


@pytest.fixture(scope="module")
def graph(tiny_bundle: Bundle) -> bytes:
    return tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32")).read_bytes()


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def batches() -> list[list[Placed]]:
    return [[placed(picture, 96, [CANVAS]) for picture in drawn_pictures(CANVAS, 2)]]


def departure(graph: bytes, checkpoint: Checkpoint, batches: Any, **changes: Any) -> str:
    """What `verify` says of the graph against a checkpoint it was not made from."""
    thresholds = changes.pop("thresholds", Thresholds())
    with pytest.raises(VerificationError) as error:
        verify(graph, replace(checkpoint, **changes), batches, "fp32", thresholds)
    said = str(error.value)
    start, end = "fp32 graph against the eager model: ", " (over 2 images)"
    assert said.startswith(start)
    assert said.endswith(end)
    return said.removeprefix(start).removesuffix(end)


def test_equal_graph_passes_with_its_figures(
    graph: bytes, checkpoint: Checkpoint, batches: list[list[Placed]]
) -> None:
    report = verify(graph, checkpoint, batches, "fp32", Thresholds())
    assert (report["images"], report["batches"], report["canvases"]) == (2, 1, ["96x128"])
    assert report["score_threshold"] == 0.05
    assert report["detections"] > 200
    assert (report["matched_share"], report["unmatched_share"]) == (1, 0)
    assert 0 < report["mean_box_px"] <= report["worst_box_px"] < 0.05
    assert 0 < report["mean_score"] <= report["worst_score"] < 1e-3
    assert report["alone_worst_box_px"] < 1e-3
    assert report["alone_worst_score"] < 1e-5


def test_every_stage_is_compared(
    graph: bytes, checkpoint: Checkpoint, batches: list[list[Placed]]
) -> None:
    stages = verify(graph, checkpoint, batches, "fp32", Thresholds())["stages"]
    tensors = [f"{what}_p{level}" for what in ("logits", "deltas") for level in range(3, 8)]
    assert list(stages) == [*tensors, "candidates"]
    for name in tensors:
        part = stages[name]
        assert 0 < part["mean"] <= part["worst"] < 1e-3 * part["spread"], name
    assert stages["candidates"]["detections"] > 400
    assert stages["candidates"]["matched_share"] == 1


def tampered(graph: bytes, change: Callable[[onnx.ModelProto], object]) -> bytes:
    proto = onnx.load_from_string(graph)
    change(proto)
    return proto.SerializeToString()


def initializers(proto: onnx.ModelProto) -> dict[str, Any]:
    return {entry.name: entry for entry in proto.graph.initializer}


def edit(entry: onnx.TensorProto, change: Callable[[Any], Any]) -> None:
    values = change(numpy_helper.to_array(entry).copy())
    entry.CopyFrom(numpy_helper.from_array(values, entry.name))


def makers(proto: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in proto.graph.node for output in node.output}


def conv_before(proto: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The convolution whose result becomes a stage."""
    made_by = makers(proto)
    node = made_by[name]
    while node.op_type != "Conv":
        node = made_by[node.input[0]]
    return node


def flip_weight(output: str) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        weights = initializers(proto)[conv_before(proto, output).input[1]]

        def flip(values: Any) -> Any:
            largest = np.unravel_index(np.abs(values).argmax(), values.shape)
            values[largest] *= -1
            return values

        edit(weights, flip)

    return change


@pytest.mark.parametrize(
    ("output", "stage"), [("logits_p3", "logits P3"), ("deltas_p5", "deltas P3")]
)
def test_flipped_weight_is_caught_in_the_subnet_it_is_in(
    graph: bytes, checkpoint: Checkpoint, batches: Any, output: str, stage: str
) -> None:
    # Levels share their subnets' weights: the first level is named.
    said = departure(tampered(graph, flip_weight(output)), checkpoint, batches)
    assert said.startswith(f"worst_of_spread of the {stage} is ")
    assert said.endswith("the bound is 0.001")


def test_swapped_classes_in_the_graph_are_caught_in_the_logits(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    def swap(proto: onnx.ModelProto) -> None:
        entries = initializers(proto)
        for name in conv_before(proto, "logits_p3").input[1:]:
            edit(
                entries[name],
                lambda v: v.reshape(9, 3, *v.shape[1:])[:, [1, 0, 2]].reshape(v.shape),
            )

    assert "of the logits P3 is " in departure(tampered(graph, swap), checkpoint, batches)


def test_changed_anchors_in_the_graph_are_caught_in_the_candidates(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    def grow(proto: onnx.ModelProto) -> None:
        shapes = [
            entry
            for entry in proto.graph.initializer
            if list(entry.dims) == [9, 2] and entry.data_type == onnx.TensorProto.FLOAT
        ]
        assert len(shapes) == 5  # a level each
        edit(shapes[0], lambda values: values * np.float32(1.02))

    said = departure(tampered(graph, grow), checkpoint, batches)
    assert " of the candidates is " in said


def test_shorter_top_k_in_the_graph_is_caught_in_the_candidates(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    def blank_the_last(proto: onnx.ModelProto) -> None:
        # As if the top-k were shorter: the weakest half of the candidates of P3 is gone.
        node = makers(proto)["candidate_scores"]
        node.output[0] = "every_score"
        keep = np.ones((1, 5000), np.float32)
        keep[:, 100:1000] = 0
        proto.graph.initializer.append(numpy_helper.from_array(keep, "keep"))
        index = list(proto.graph.node).index(node)
        fewer = onnx.helper.make_node("Mul", ["every_score", "keep"], ["candidate_scores"])
        proto.graph.node.insert(index + 1, fewer)

    said = departure(tampered(graph, blank_the_last), checkpoint, batches)
    assert said.startswith("unmatched_share of the candidates is 0.")


def test_graph_that_depends_on_batch_mates_is_caught(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    def favour_company(proto: onnx.ModelProto) -> None:
        node = makers(proto)["scores"]
        for each in proto.graph.node:
            each.input[:] = ["lone_scores" if name == "scores" else name for name in each.input]
        node.output[:] = ["lone_scores" if name == "scores" else name for name in node.output]
        proto.graph.initializer.append(
            numpy_helper.from_array(np.array(2e-5, np.float32), "favour")
        )
        make = onnx.helper.make_node
        proto.graph.node.extend(
            [
                make("Shape", ["images"], ["batch_size"], start=0, end=1),
                make("Cast", ["batch_size"], ["company"], to=onnx.TensorProto.FLOAT),
                make("Mul", ["company", "favour"], ["bonus"]),
                make("Add", ["lone_scores", "bonus"], ["scores"]),
            ]
        )

    said = departure(tampered(graph, favour_company), checkpoint, batches)
    assert said.startswith("alone_worst_score of the company is 0.0001")
    assert said.endswith("the bound is 1e-05")


def test_wrong_mean_is_caught_in_the_logits(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    said = departure(graph, checkpoint, batches, mean=(0.5, 0.5, 0.5))
    assert said.startswith("worst_of_spread of the logits P3 is ")


def test_wrong_deviation_is_caught_in_the_logits(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    assert "logits P3" in departure(graph, checkpoint, batches, std=(0.25, 0.25, 0.25))


@pytest.mark.parametrize(
    "anchors",
    [
        AnchorSpec(offset=0.0),
        AnchorSpec(ratios=(2.0, 1.0, 0.5)),
        AnchorSpec(sizes=(30.0, 60.0, 120.0, 240.0, 480.0)),
    ],
    ids=["centres", "ratios", "sizes"],
)
def test_other_anchors_are_caught_in_the_candidates(
    graph: bytes, checkpoint: Checkpoint, batches: Any, anchors: AnchorSpec
) -> None:
    architecture = replace(checkpoint.architecture, anchors=anchors)
    said = departure(graph, checkpoint, batches, architecture=architecture)
    assert "of the candidates" in said


class Fixed:
    """Ignores the IoU threshold that it is given."""

    def __init__(self, graph: bytes, iou_threshold: float) -> None:
        self.session, self.iou_threshold = PlainSession(graph), iou_threshold
        self.flavour = self.session.flavour

    def run(self, images: Any, sizes: Any, score_threshold: float, _: float) -> list[Detections]:
        return self.session.run(images, sizes, score_threshold, self.iou_threshold)


@pytest.mark.parametrize("iou_threshold", [0.3, 0.48, 0.52, 0.7])
def test_ignored_nms_threshold_is_caught_in_the_detections(
    graph: bytes,
    checkpoint: Checkpoint,
    batches: Any,
    monkeypatch: pytest.MonkeyPatch,
    iou_threshold: float,
) -> None:
    monkeypatch.setattr(export.verify, "PlainSession", lambda graph: Fixed(graph, iou_threshold))
    said = departure(graph, checkpoint, batches)
    assert said.startswith(("unmatched_share is 0.0", "matched_share is 0."))


def test_ignored_cap_is_caught_in_the_detections(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    said = departure(graph, checkpoint, batches, thresholds=Thresholds(max_detections=50))
    assert "matched_share is 0." in said


class Spoilt:
    """A detector whose detections a test spoils."""

    def __init__(self, graph: bytes, spoil: Callable[[Detections, int], Detections]) -> None:
        self.session, self.spoil = PlainSession(graph), spoil
        self.flavour = self.session.flavour

    def run(self, images: Any, *rest: Any) -> list[Detections]:
        return [self.spoil(found, len(images)) for found in self.session.run(images, *rest)]


@pytest.fixture
def spoilt(
    graph: bytes, checkpoint: Checkpoint, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Detections, int], Detections]], str]:
    """What `verify` says of a graph whose detections are spoilt."""

    def said(spoil: Callable[[Detections, int], Detections]) -> str:
        monkeypatch.setattr(export.verify, "PlainSession", lambda graph: Spoilt(graph, spoil))
        return departure(graph, checkpoint, batches)

    return said


def test_detection_told_twice_is_caught(spoilt: Any) -> None:
    def double(found: Detections, _: int) -> Detections:
        return Detections(
            *(np.repeat(part, 2, axis=0) for part in (found.boxes, found.scores, found.classes))
        )

    assert spoilt(double).startswith("matched_share is 0.66")


def test_one_more_detection_is_caught(spoilt: Any) -> None:
    def another(found: Detections, _: int) -> Detections:
        boxes = np.concatenate([[[1, 1, 90, 90]], found.boxes]).astype(np.float32)
        scores = np.concatenate([[1.0], found.scores]).astype(np.float32)
        return Detections(boxes, scores, np.concatenate([[0], found.classes]))

    assert spoilt(another).startswith("unmatched_share is 0.00")


def test_box_a_tenth_of_a_pixel_off_is_caught(spoilt: Any) -> None:
    def shift(found: Detections, _: int) -> Detections:
        return replace(found, boxes=found.boxes + np.array([0.1, 0, 0, 0], np.float32))

    said = spoilt(shift)
    assert "worst_box_px is 0.1" in said or "matched_share" in said


def test_finding_nothing_is_caught(spoilt: Any) -> None:
    assert spoilt(lambda found, _: found.where(slice(0))).startswith("matched_share is 0,")


def test_model_that_believes_little_is_compared_at_what_it_believes_most(
    graph: bytes, checkpoint: Checkpoint, batches: Any
) -> None:
    def disbelieve(proto: onnx.ModelProto) -> None:
        bias = initializers(proto)[conv_before(proto, "logits_p3").input[2]]
        edit(bias, lambda values: values - np.float32(6))

    state = dict(checkpoint.state)
    state["class_head.output.bias"] = state["class_head.output.bias"] - 6
    timid = replace(checkpoint, state=state)
    report = verify(tampered(graph, disbelieve), timid, batches, "fp32", Thresholds())
    assert report["score_threshold"] == 0.0
    assert report["detections"] > 200
    assert report["worst_score"] < 1e-3
