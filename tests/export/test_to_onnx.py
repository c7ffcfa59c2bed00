"""The graph that ONNX Runtime runs, against the eager model and the oracle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.contract import CANDIDATES, DELTAS, LOGITS, STAGES
from export.inputs import Placed, drawn_pictures, feed_of, placed
from export.manifest import Bundle
from export.plain_session import session_of
from model.anchors import anchors_of_canvas
from model.boxes import iou_of
from model.checkpoint import load_checkpoint
from model.letterbox import Canvas
from model.normalise import normalise
from model.postprocess import Detections, detections_of
from model.retinanet import RetinaNet

CANVAS = Canvas(96, 128)
"""One of `tiny_bundle`'s."""


@pytest.fixture(scope="module")
def graph(tiny_bundle: Bundle) -> bytes:
    return tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32")).read_bytes()


@pytest.fixture(scope="module")
def session(graph: bytes) -> onnxruntime.InferenceSession:
    return session_of(graph)


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> RetinaNet:
    return load_checkpoint(tiny_checkpoint).build()


def batch_of(canvas: Canvas, count: int) -> list[Placed]:
    """Drawn scenes, all but the first with padding below."""
    return [placed(picture, min(canvas), [canvas]) for picture in drawn_pictures(canvas, count)]


def rows(outputs: list[Any]) -> Iterator[Detections]:
    for count, boxes, scores, classes in zip(*outputs, strict=True):
        found = (torch.from_numpy(part[:count]) for part in (boxes, scores, classes))
        yield Detections(*found)


def oracle(model: RetinaNet, batch: list[Placed], **thresholds: float) -> list[Detections]:
    feed = {name: torch.from_numpy(value) for name, value in feed_of(batch).items()}
    with torch.no_grad():
        predictions = model(normalise(feed["images"], feed["image_sizes"]))
    anchors = anchors_of_canvas(batch[0].place.canvas, model.architecture.anchors)
    return detections_of(predictions, anchors, feed["image_sizes"], **thresholds)  # type: ignore[arg-type]


def assert_agree(found: Detections, expected: Detections) -> None:
    """All but one in fifty, for rounding may decide between two boxes, have a twin."""
    assert len(expected.scores) > 5
    assert abs(len(found.scores) - len(expected.scores)) <= 1
    same = found.classes[:, None] == expected.classes[None, :]
    same &= (found.scores[:, None] - expected.scores[None, :]).abs() < 5e-5
    same &= (found.boxes[:, None] - expected.boxes[None, :]).abs().amax(dim=-1) < 5e-3
    assert same.any(dim=1).float().mean() > 0.98
    assert same.any(dim=0).float().mean() > 0.98


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("canvas", [CANVAS, Canvas(160, 64), Canvas(64, 224)], ids=str)
def test_equals_the_oracle(
    session: onnxruntime.InferenceSession, model: RetinaNet, canvas: Canvas, count: int
) -> None:
    batch = batch_of(canvas, count)
    outputs = session.run(None, feed_of(batch))
    for found, expected in zip(rows(outputs), oracle(model, batch), strict=True):
        assert_agree(found, expected)


def test_smallest_canvas_runs(session: onnxruntime.InferenceSession) -> None:
    (count, *_) = session.run(None, feed_of(batch_of(Canvas(32, 32), 2)))
    assert count.shape == (2,)


def test_thresholds_default_to_the_manifests(
    session: onnxruntime.InferenceSession, tiny_bundle: Bundle
) -> None:
    assert [given.name for given in session.get_inputs()] == ["images", "image_sizes"]
    names = {given.name for given in session.get_overridable_initializers()}
    assert names == {"score_threshold", "iou_threshold", "max_detections"}
    feed = feed_of(batch_of(CANVAS, 1))
    thresholds = tiny_bundle.manifest.thresholds
    given = {
        "score_threshold": np.array([thresholds.score_threshold], np.float32),
        "iou_threshold": np.array([thresholds.iou_threshold], np.float32),
        "max_detections": np.array([thresholds.max_detections]),
    }
    for mine, theirs in zip(session.run(None, feed), session.run(None, feed | given), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("score", "iou"), [(0.08, 0.5), (0.05, 0.1), (0.06, 0.9)])
def test_given_thresholds_are_heeded(
    session: onnxruntime.InferenceSession, model: RetinaNet, score: float, iou: float
) -> None:
    batch = batch_of(CANVAS, 1)
    given = {
        "score_threshold": np.array([score], np.float32),
        "iou_threshold": np.array([iou], np.float32),
    }
    (found,) = rows(session.run(None, feed_of(batch) | given))
    (expected,) = oracle(model, batch, score_threshold=score, iou_threshold=iou)
    assert_agree(found, expected)


def test_rows_past_the_count_are_blank_and_the_others_are_not(
    session: onnxruntime.InferenceSession,
) -> None:
    counts, boxes, scores, classes = session.run(None, feed_of(batch_of(CANVAS, 3)))
    assert (counts > 0).all()
    assert (counts < 300).all()
    for i, count in enumerate(counts):
        assert (np.diff(scores[i]) <= 0).all()
        assert (scores[i, :count] > 0.05).all()
        assert set(classes[i, :count]) <= {0, 1, 2}
        assert not boxes[i, count:].any()
        assert not scores[i, count:].any()
        assert (classes[i, count:] == -1).all()


def test_nothing_above_the_threshold_gives_no_rows(session: onnxruntime.InferenceSession) -> None:
    given = {"score_threshold": np.array([0.9999], np.float32)}
    counts, _, _, classes = session.run(None, feed_of(batch_of(CANVAS, 2)) | given)
    assert counts.tolist() == [0, 0]
    assert (classes == -1).all()


def test_no_path_of_the_exporting_machine_is_in_the_file(graph: bytes) -> None:
    assert str(Path.cwd()).encode() not in graph
    assert b"site-packages" not in graph
    assert b".py" not in graph


def test_signature_is_the_bundle_contracts(graph: bytes) -> None:
    proto = onnx.load_from_string(graph)
    kinds = onnx.TensorProto.DataType
    signature = {
        value.name: (
            kinds.Name(value.type.tensor_type.elem_type),
            len(value.type.tensor_type.shape.dim),
        )
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert signature == {
        "images": ("UINT8", 4),
        "image_sizes": ("INT64", 2),
        "score_threshold": ("FLOAT", 1),
        "iou_threshold": ("FLOAT", 1),
        "max_detections": ("INT64", 1),
        "num_detections": ("INT64", 1),
        "boxes": ("FLOAT", 3),
        "scores": ("FLOAT", 2),
        "classes": ("INT64", 2),
    }
    assert [(entry.domain, entry.version) for entry in proto.opset_import if not entry.domain] == [
        ("", 18)
    ]
    assert proto.producer_name == "retinaserve"


def test_metadata_holds_the_manifests_facts(graph: bytes, tiny_bundle: Bundle) -> None:
    (entry,) = onnx.load_from_string(graph).metadata_props
    assert entry.key == "retinaserve"
    assert json.loads(entry.value) == json.loads(tiny_bundle.manifest.facts("fp32"))


def test_stages_can_be_asked_for(graph: bytes, model: RetinaNet) -> None:
    proto = onnx.load_from_string(graph)
    named = {value.name: value for value in proto.graph.value_info}
    proto.graph.output.extend(named[name] for name in STAGES)
    batch = batch_of(CANVAS, 2)
    values = dict(
        zip(STAGES, session_of(proto.SerializeToString()).run(STAGES, feed_of(batch)), strict=True)
    )
    feed = {name: torch.from_numpy(value) for name, value in feed_of(batch).items()}
    with torch.no_grad():
        logits, deltas = model(normalise(feed["images"], feed["image_sizes"]))
    for names, levels in ((LOGITS, logits), (DELTAS, deltas)):
        for name, level in zip(names, levels, strict=True):
            np.testing.assert_allclose(values[name], level, atol=1e-3)
    boxes, scores, classes = (values[name] for name in CANDIDATES)
    assert (boxes.shape, scores.shape, classes.shape) == ((2, 5000, 4), (2, 5000), (2, 5000))
    assert (scores > 0).any()
    assert not scores[(scores > 0) & (scores <= 0.05)].any()


def test_given_limit_is_heeded(session: onnxruntime.InferenceSession) -> None:
    feed = feed_of(batch_of(CANVAS, 2))
    whole = session.run(None, feed)
    best = session.run(None, feed | {"max_detections": np.array([4])})
    assert (whole[0] > 4).all()
    assert best[0].tolist() == [4, 4]
    np.testing.assert_array_equal(best[1][:, :4], whole[1][:, :4])
    assert (best[3][:, 4:] == -1).all()


def test_identical_images_find_the_same_in_any_batch(
    session: onnxruntime.InferenceSession,
) -> None:
    batch = batch_of(CANVAS, 3)
    together = list(rows(session.run(None, feed_of(batch))))
    for entry, found in zip(batch, together, strict=True):
        (alone,) = rows(session.run(None, entry.feed))
        assert alone.classes.tolist() == found.classes.tolist()
        torch.testing.assert_close(alone.boxes, found.boxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(alone.scores, found.scores, atol=1e-5, rtol=0)


def test_no_two_boxes_of_a_class_overlap_past_the_threshold(
    session: onnxruntime.InferenceSession,
) -> None:
    (found,) = rows(session.run(None, feed_of(batch_of(CANVAS, 1))))
    same = found.classes[:, None] == found.classes[None, :]
    overlaps = iou_of(found.boxes, found.boxes).fill_diagonal_(0.0)
    assert float(overlaps[same].max()) <= 0.5 + 1e-5
