"""The exported view, run by torch, against the slow and obvious post-processing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from export.manifest import Flavour, Thresholds
from export.view import ExportedView
from model.anchors import anchors_of_canvas
from model.checkpoint import load_checkpoint
from model.geometry import STRIDES, AnchorSpec, grid_of_canvas
from model.letterbox import Canvas
from model.normalise import IMAGENET_MEAN, IMAGENET_STD
from model.postprocess import Detections, detections_of
from model.retinanet import Architecture, Predictions

CANVAS = Canvas(64, 96)
"""Levels of 864, 216, 54, 18 and 9 anchors: all but none has as many as the top-k of 1,000."""

LOW = -12.0
"""A logit far below any threshold."""

BOX_TOLERANCE = {"atol": 1e-3, "rtol": 1e-5}
"""Anchors are computed in another order of operations."""

SCORE_TOLERANCE = {"atol": 1e-6, "rtol": 0.0}
"""The last bit of a sigmoid depends on how many are computed at once."""


class Stub(nn.Module):
    """Says what a test wants, whatever the image."""

    def __init__(self, predictions: Predictions, architecture: Architecture) -> None:
        super().__init__()
        self.predictions, self.architecture = predictions, architecture
        self.fpn = nn.Module()
        self.fpn.p6 = nn.Conv2d(1, 1, 1)

    def forward(self, images: Tensor) -> Predictions:
        return self.predictions


class Scene(NamedTuple):
    """Predictions for a canvas, with the valid size of each image."""

    predictions: Predictions
    num_classes: int
    sizes: Tensor
    canvas: Canvas = CANVAS
    anchors: AnchorSpec = AnchorSpec()

    def view(self, thresholds: Thresholds, flavour: Flavour = "cpu") -> ExportedView:
        architecture = Architecture(self.num_classes, anchors=self.anchors)
        stub: Any = Stub(self.predictions, architecture)
        return ExportedView(stub, IMAGENET_MEAN, IMAGENET_STD, thresholds, flavour)

    @property
    def images(self) -> Tensor:
        return torch.zeros((len(self.sizes), *self.canvas, 3), dtype=torch.uint8)

    def by_view(self, thresholds: Thresholds, flavour: Flavour = "cpu") -> list[Detections]:
        return rows_of(self.view(thresholds, flavour), self.images, self.sizes)

    def by_oracle(self, thresholds: Thresholds) -> list[Detections]:
        anchors = anchors_of_canvas(self.canvas, self.anchors)
        return detections_of(self.predictions, anchors, self.sizes, **thresholds.model_dump())


def rows_of(view: ExportedView, images: Tensor, sizes: Tensor) -> list[Detections]:
    """The real rows of each image, after a look at the padding rows."""
    thresholds = view.thresholds
    count, boxes, scores, classes, *tensor_flavours = view(
        images,
        sizes,
        torch.tensor([thresholds.score_threshold]),
        torch.tensor([thresholds.iou_threshold]),
    )
    assert bool(tensor_flavours) == (view.flavour == "tensor")
    assert all(converged.all() for converged in tensor_flavours[:1])
    cap = thresholds.max_detections
    assert boxes.shape == (len(sizes), cap, 4)
    assert (count.dtype, classes.dtype) == (torch.int64, torch.int64)
    assert (boxes.dtype, scores.dtype) == (torch.float32, torch.float32)
    found = []
    for i, n in enumerate(count.tolist()):
        assert not boxes[i, n:].any()
        assert not scores[i, n:].any()
        assert (classes[i, n:] == -1).all()
        found.append(Detections(boxes[i, :n], scores[i, :n], classes[i, :n]))
    return found


def random_scene(
    seed: int = 0,
    *,
    num_classes: int = 3,
    images: int = 1,
    mean: float = -3.0,
    canvas: Canvas = CANVAS,
    sizes: list[list[int]] | None = None,
    anchors: AnchorSpec | None = None,
) -> Scene:
    anchors = anchors or AnchorSpec()
    random = torch.Generator().manual_seed(seed)
    logits, deltas = [], []
    for stride in STRIDES:
        rows, columns = grid_of_canvas(canvas, stride)
        count = rows * columns * anchors.per_location
        logits.append(torch.randn((images, count, num_classes), generator=random) + mean)
        deltas.append(torch.randn((images, count, 4), generator=random) * 0.5)
    valid = torch.tensor(sizes or [list(canvas)] * images)
    return Scene(Predictions(logits, deltas), num_classes, valid, canvas, anchors)


def assert_agree(
    scene: Scene, thresholds: Thresholds | None = None, flavour: Flavour = "cpu"
) -> list[Detections]:
    thresholds = thresholds or Thresholds()
    found = scene.by_view(thresholds, flavour)
    for mine, theirs in zip(found, scene.by_oracle(thresholds), strict=True):
        assert mine.classes.tolist() == theirs.classes.tolist()
        torch.testing.assert_close(mine.scores, theirs.scores, **SCORE_TOLERANCE)
        torch.testing.assert_close(mine.boxes, theirs.boxes, **BOX_TOLERANCE)
    return found


def as_set(found: Detections) -> list[tuple[int, ...]]:
    """Rows in an order of their own: equal scores may come in any."""
    table = [found.classes[:, None], found.scores[:, None] * 1e6, found.boxes * 16]
    return sorted(map(tuple, torch.cat(table, dim=1).round().long().tolist()))


@pytest.mark.parametrize("num_classes", [1, 3, 90])
def test_equals_the_oracle(num_classes: int) -> None:
    (found,) = assert_agree(random_scene(num_classes=num_classes))
    assert len(found.scores) > 50


def test_equals_the_oracle_on_every_image_of_a_batch() -> None:
    scene = random_scene(1, images=3, sizes=[[64, 96], [40, 96], [64, 33]])
    assert len({len(found.scores) for found in assert_agree(scene)}) > 1


@pytest.mark.parametrize("canvas", [Canvas(32, 32), Canvas(160, 64), Canvas(32, 288)])
def test_equals_the_oracle_on_any_canvas(canvas: Canvas) -> None:
    assert_agree(random_scene(2, canvas=canvas))


@pytest.mark.parametrize(
    "spec",
    [
        AnchorSpec((16.0, 32.0, 64.0, 128.0, 256.0), (1.0, 1.5), (0.4, 1.0, 2.5), offset=0.0),
        AnchorSpec(offset=0.0, rounding="torchvision"),
    ],
    ids=["other sizes", "rounded"],
)
def test_equals_the_oracle_with_other_anchors(spec: AnchorSpec) -> None:
    assert_agree(random_scene(3, anchors=spec))


@pytest.mark.parametrize(
    "thresholds",
    [
        Thresholds(pre_nms_top_k=40, max_detections=100),
        Thresholds(score_threshold=0.3, iou_threshold=0.2),
        Thresholds(score_threshold=0.0, iou_threshold=0.5, pre_nms_top_k=60),
        Thresholds(max_detections=7),
        Thresholds(iou_threshold=0.0),
    ],
    ids=str,
)
def test_equals_the_oracle_with_other_thresholds(thresholds: Thresholds) -> None:
    assert_agree(random_scene(4), thresholds)


def test_saturated_level_gives_its_1000_best_pairs() -> None:
    scene = random_scene(5, mean=1.0)
    assert (torch.sigmoid(scene.predictions.logits[0]) > 0.05).sum() > 2000
    (found,) = assert_agree(scene)
    assert len(found.scores) == 300


def test_best_pairs_may_share_an_anchor() -> None:
    """Top-k over anchors first must not cost an anchor its second class."""
    scene = random_scene(6, num_classes=3, mean=LOW)
    scene.predictions.deltas[0].zero_()
    scene.predictions.logits[0][0, 5] = torch.tensor([2.0, 1.0, LOW])
    scene.predictions.logits[0][0, 700] = torch.tensor([LOW, 0.5, LOW])
    (found,) = assert_agree(scene, Thresholds(pre_nms_top_k=2, max_detections=5))
    assert found.classes.tolist() == [0, 1]


def test_nothing_above_the_threshold_gives_nothing() -> None:
    (found,) = assert_agree(random_scene(7, mean=LOW))
    assert found.boxes.shape == (0, 4)


def test_score_at_the_threshold_is_dropped() -> None:
    scene = random_scene(8, mean=LOW)
    scene.predictions.logits[0][0, 100, 1] = 0.0  # a score of exactly one half
    scene.predictions.logits[0][0, 200, 1] = 0.001
    (found,) = assert_agree(scene, Thresholds(score_threshold=0.5))
    assert len(found.scores) == 1


def test_equal_scores_give_the_same_set() -> None:
    scene = random_scene(9)
    levels = scene.predictions.logits
    coarse = [torch.where(level > -2, level.round(), LOW) for level in levels]
    scene = scene._replace(predictions=Predictions(coarse, scene.predictions.deltas))
    # Nothing is suppressed at 1.0, and fewer pairs than either limit are left: no tie decides.
    thresholds = Thresholds(iou_threshold=1.0, max_detections=2000)
    (mine,), (theirs,) = scene.by_view(thresholds), scene.by_oracle(thresholds)
    assert 300 < len(mine.scores) < 1000
    assert len(set(mine.scores.tolist())) < 8
    assert (mine.scores.diff() <= 0).all()
    assert as_set(mine) == as_set(theirs)


def test_huge_deltas_stay_finite_and_inside() -> None:
    scene = random_scene(10)
    deltas = [level * torch.tensor([1, 1, 1e4, 1e4]) for level in scene.predictions.deltas]
    scene = scene._replace(predictions=Predictions(scene.predictions.logits, deltas))
    (found,) = assert_agree(scene)
    assert len(found.scores) > 0
    assert found.boxes.isfinite().all()


def test_boxes_are_clipped_to_the_valid_image() -> None:
    (found,) = assert_agree(random_scene(11, sizes=[[40, 70]]))
    assert (found.boxes >= 0).all()
    assert found.boxes.amax(dim=0).tolist() == [
        found.boxes[:, 0].max(),
        found.boxes[:, 1].max(),
        70,
        40,
    ]


def test_box_outside_the_valid_image_is_dropped() -> None:
    scene = random_scene(12, mean=LOW, sizes=[[32, 32]])
    scene.predictions.logits[0][0, -1, 0] = 3.0  # bottom right of 64x96
    scene.predictions.deltas[0].zero_()
    (found,) = assert_agree(scene)
    assert len(found.scores) == 0


def test_tensor_flavour_equals_the_oracle() -> None:
    """Here once; see `test_trials.py` for every awkward kind."""
    scene = random_scene(13, images=2, sizes=[[64, 96], [40, 70]])
    limits = Thresholds(pre_nms_top_k=250, max_detections=200)
    assert_agree(scene, limits, "tensor")


def test_tensor_flavour_equals_the_oracle_with_as_many_candidates_as_can_be() -> None:
    scene = random_scene(14, mean=1.0, canvas=Canvas(480, 640), num_classes=2)
    assert (torch.sigmoid(scene.predictions.logits[3]) > 0.05).sum() > 700
    (found,) = assert_agree(scene, flavour="tensor")
    assert len(found.scores) == 300


@pytest.mark.parametrize("flavour", ["cpu", "tensor"])
def test_given_limit_leaves_the_best_detections(flavour: Flavour) -> None:
    scene = random_scene(15, images=2)
    thresholds = Thresholds(pre_nms_top_k=60, max_detections=50)
    view = scene.view(thresholds, flavour)
    numbers = [torch.tensor([0.05]), torch.tensor([0.5])]
    whole = view(scene.images, scene.sizes, *numbers)
    best = view(scene.images, scene.sizes, *numbers, torch.tensor([7]))
    assert best[0].tolist() == [7, 7]
    for mine, theirs in zip(best[1:4], whole[1:4], strict=True):
        assert mine.shape == theirs.shape
        assert torch.equal(mine[:, :7], theirs[:, :7])
    assert not best[1][:, 7:].any()
    assert not best[2][:, 7:].any()
    assert (best[3][:, 7:] == -1).all()


@pytest.mark.parametrize("flavour", ["cpu", "tensor"])
def test_limit_past_the_cap_changes_nothing(flavour: Flavour) -> None:
    scene = random_scene(16)
    thresholds = Thresholds(pre_nms_top_k=60, max_detections=10)
    view = scene.view(thresholds, flavour)
    count, *_ = view(
        scene.images, scene.sizes, torch.tensor([0.05]), torch.tensor([0.5]), torch.tensor([999])
    )
    assert count.tolist() == [10]


@pytest.mark.parametrize("flavour", ["cpu", "tensor"])
def test_pairs_of_anchor_and_class_past_2_to_24_are_told_apart(flavour: Flavour) -> None:
    """Where float32 no longer counts: 90,000 anchors of 264 classes on P3 alone."""
    canvas, num_classes = Canvas(800, 800), 264
    sides = [grid_of_canvas(canvas, stride) for stride in STRIDES]
    counts = [rows * columns * 9 for rows, columns in sides]
    assert counts[0] * num_classes > 2**24
    low = torch.tensor(LOW)
    logits = [low.expand(1, count, num_classes) for count in counts]
    logits[0] = logits[0].clone()
    logits[0][0, -1, 263] = 3.0
    logits[0][0, -100, 1] = 2.0
    deltas = [torch.zeros(1, count, 4) for count in counts]
    scene = Scene(Predictions(logits, deltas), num_classes, torch.tensor([list(canvas)]), canvas)
    (found,) = scene.by_view(Thresholds(pre_nms_top_k=20, max_detections=10), flavour)
    assert found.classes.tolist() == [263, 1]
    expected = anchors_of_canvas(canvas, AnchorSpec())[0][[-1, -100]].clamp(0, 800)
    torch.testing.assert_close(found.boxes, expected, **BOX_TOLERANCE)


def test_stages_are_what_the_detections_were_made_from() -> None:
    scene = random_scene(17)
    view = scene.view(Thresholds(pre_nms_top_k=60, max_detections=50))
    found = view.stages(scene.images, scene.sizes, torch.tensor([0.05]), torch.tensor([0.5]))
    assert found.converged is None
    assert found.predictions is scene.predictions
    assert found.candidates.boxes.shape == (1, 300, 4)
    real = found.candidates.scores[0] > 0
    assert 0 < int(real.sum()) < 300
    assert (found.candidates.scores[0][real] > 0.05).all()
    assert set(found.detections[2][0].tolist()) <= {0.0, *found.candidates.scores[0].tolist()}


@pytest.fixture(scope="module")
def view(tiny_checkpoint: Path) -> Callable[[Tensor, Tensor], list[Detections]]:
    """A real model's view."""
    checkpoint = load_checkpoint(tiny_checkpoint)
    whole = ExportedView(checkpoint.build(), checkpoint.mean, checkpoint.std, Thresholds())

    def run(images: Tensor, sizes: Tensor) -> list[Detections]:
        with torch.no_grad():
            return rows_of(whole, images, sizes)

    return run


def test_what_lies_in_the_padding_does_not_matter(
    view: Callable[[Tensor, Tensor], list[Detections]],
) -> None:
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 64, 96, 3), generator=random, dtype=torch.uint8)
    images[1, :40, :70] = images[0, :40, :70]
    first, second = view(images, torch.tensor([[40, 70]] * 2))
    assert len(first.scores) > 10
    for mine, theirs in zip(first, second, strict=True):
        assert torch.equal(mine, theirs)
