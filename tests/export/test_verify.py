"""`verify` passes a graph that equals its model and catches each way of departing from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import export.verify
from export.inputs import Placed, drawn_pictures, placed
from export.manifest import Bundle, Thresholds
from export.verify import VerificationError, session_of, verify
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
    return str(error.value)


def test_equal_graph_passes_with_its_figures(
    graph: bytes, checkpoint: Checkpoint, batches: list[list[Placed]]
) -> None:
    report = verify(graph, checkpoint, batches, "fp32", Thresholds())
    assert (report["images"], report["batches"], report["canvases"]) == (2, 1, ["96x128"])
    assert report["detections"] > 200
    assert report["unmatched_share"] == 0
    assert 0 < report["mean_box_px"] <= report["worst_box_px"] < 0.05
    assert 0 < report["mean_score"] <= report["worst_score"] < 1e-3
    assert report["alone_worst_box_px"] < 1e-3
    assert report["alone_worst_score"] < 1e-5


def test_wrong_mean_is_caught(graph: bytes, checkpoint: Checkpoint, batches: Any) -> None:
    said = departure(graph, checkpoint, batches, mean=(0.5, 0.5, 0.5))
    assert said.startswith("fp32 graph against the eager model: unmatched_share is 0.")
    assert said.endswith("the bound is 0 (over 2 images)")


def test_wrong_deviation_is_caught(graph: bytes, checkpoint: Checkpoint, batches: Any) -> None:
    assert "unmatched_share" in departure(graph, checkpoint, batches, std=(0.25, 0.25, 0.25))


def test_swapped_classes_are_caught(graph: bytes, checkpoint: Checkpoint, batches: Any) -> None:
    state = dict(checkpoint.state)
    for name in ("class_head.output.weight", "class_head.output.bias"):
        by_anchor = state[name].unflatten(0, (9, 3))
        state[name] = by_anchor[:, [1, 0, 2]].flatten(0, 1)
    assert "unmatched_share" in departure(graph, checkpoint, batches, state=state)


@pytest.mark.parametrize(
    "anchors",
    [
        AnchorSpec(offset=0.0),
        AnchorSpec(ratios=(2.0, 1.0, 0.5)),
        AnchorSpec(sizes=(30.0, 60.0, 120.0, 240.0, 480.0)),
    ],
    ids=["centres", "ratios", "sizes"],
)
def test_other_anchors_are_caught(
    graph: bytes, checkpoint: Checkpoint, batches: Any, anchors: AnchorSpec
) -> None:
    architecture = replace(checkpoint.architecture, anchors=anchors)
    assert "unmatched_share" in departure(graph, checkpoint, batches, architecture=architecture)


@pytest.mark.parametrize(
    "thresholds",
    [Thresholds(iou_threshold=0.3), Thresholds(iou_threshold=0.7), Thresholds(max_detections=50)],
    ids=["iou .3", "iou .7", "cap"],
)
def test_ignored_thresholds_are_caught(
    graph: bytes, checkpoint: Checkpoint, batches: Any, thresholds: Thresholds
) -> None:
    assert "unmatched_share" in departure(graph, checkpoint, batches, thresholds=thresholds)


class Spoilt:
    """A session whose outputs a test spoils."""

    def __init__(self, graph: bytes, spoil: Any) -> None:
        self.session, self.spoil = session_of(graph), spoil

    def run(self, names: None, feed: Any) -> list[Any]:
        outputs = [output.copy() for output in self.session.run(names, feed)]
        return self.spoil(*outputs) or outputs


def test_detection_told_twice_is_caught(
    graph: bytes, checkpoint: Checkpoint, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def double(counts: Any, *outputs: Any) -> list[Any]:
        return [counts * 2, *(np.repeat(output, 2, axis=1) for output in outputs)]

    monkeypatch.setattr(export.verify, "session_of", lambda graph: Spoilt(graph, double))
    # One of three has no counterpart, but for those so near the threshold that they may go.
    assert "unmatched_share is 0.32" in departure(graph, checkpoint, batches)


def test_box_a_pixel_off_is_caught(
    graph: bytes, checkpoint: Checkpoint, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shift(counts: Any, boxes: Any, scores: Any, classes: Any) -> None:
        boxes[..., 0] += 0.1

    monkeypatch.setattr(export.verify, "session_of", lambda graph: Spoilt(graph, shift))
    said = departure(graph, checkpoint, batches)
    assert "worst_box_px is 0.1" in said or "unmatched_share" in said


def test_dependence_on_company_is_caught(
    graph: bytes, checkpoint: Checkpoint, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def favour_company(counts: Any, boxes: Any, scores: Any, classes: Any) -> None:
        scores += 1e-4 * (len(counts) - 1)

    monkeypatch.setattr(export.verify, "session_of", lambda graph: Spoilt(graph, favour_company))
    assert "alone_worst_score is 0.0001" in departure(graph, checkpoint, batches)


def test_finding_nothing_is_caught(
    graph: bytes, checkpoint: Checkpoint, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(counts: Any, boxes: Any, scores: Any, classes: Any) -> None:
        counts *= 0

    monkeypatch.setattr(export.verify, "session_of", lambda graph: Spoilt(graph, nothing))
    assert "unmatched_share" in departure(graph, checkpoint, batches)
