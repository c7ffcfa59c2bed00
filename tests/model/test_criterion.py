"""The loss of a batch on a handful of anchors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.anchors import anchors_of_canvas
from model.criterion import Losses, Target, detection_loss
from model.losses import LossRule
from model.matching import Matching
from model.retinanet import Predictions, build_retinanet

ANCHORS = torch.tensor(
    [[0.0, 0.0, 10.0, 10.0], [100.0, 0.0, 110.0, 10.0], [200.0, 0.0, 210.0, 10.0]]
)
NONE = torch.zeros(0, 4)
PLAIN = LossRule(alpha=-1.0, gamma=0.0)
LOG2 = math.log(2.0)
"""The cross entropy of a logit of 0."""


def target(
    boxes: list[int], classes: list[int], ignored: list[int] | None = None, complete: str = "11"
) -> Target:
    """Boxes and ignored regions are anchors, by index."""
    return Target(
        ANCHORS[boxes],
        torch.tensor(classes, dtype=torch.int64),
        ANCHORS[ignored or []],
        torch.tensor([c == "1" for c in complete]),
    )


def loss(
    targets: list[Target],
    logits: Tensor | None = None,
    deltas: Tensor | None = None,
    rule: LossRule = PLAIN,
) -> Losses:
    logits = torch.zeros(len(targets), 3, 2) if logits is None else logits
    deltas = torch.zeros(len(targets), 3, 4) if deltas is None else deltas
    return detection_loss(Predictions([logits], [deltas]), [ANCHORS], targets, Matching(), rule)


def test_class_loss_covers_all_anchors_and_classes_over_the_positives() -> None:
    losses = loss([target([0, 1], [0, 1])])
    assert losses.classes.item() == pytest.approx(6 * LOG2 / 2)
    assert losses.positives.item() == 2


def test_class_loss_rewards_the_right_class_of_the_right_anchor() -> None:
    logits = torch.full((1, 3, 2), -50.0)
    logits[0, 2, 1] = 50.0
    assert loss([target([2], [1])], logits).classes.item() == pytest.approx(0.0, abs=1e-6)
    assert loss([target([2], [0])], logits).classes.item() == pytest.approx(100.0)
    assert loss([target([0], [1])], logits).classes.item() == pytest.approx(100.0)


def test_normaliser_counts_the_positives_of_the_whole_batch() -> None:
    losses = loss([target([0, 1], [0, 1]), target([2], [0])])
    assert losses.classes.item() == pytest.approx(12 * LOG2 / 3)


def test_normaliser_is_one_without_positives() -> None:
    losses = loss([target([], [])])
    assert losses.classes.item() == pytest.approx(6 * LOG2)
    assert losses.boxes.item() == 0.0


def test_box_loss_is_that_of_positives_alone_over_their_number() -> None:
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 0, 0] = 2.0  # smooth L1: 1.5
    deltas[0, 2] = 9.0  # a background anchor
    losses = loss([target([0, 1], [0, 1])], deltas=deltas)
    assert losses.boxes.item() == pytest.approx(1.5 / 2)


def test_box_weight_multiplies_the_box_loss_alone() -> None:
    deltas = torch.full((1, 3, 4), 2.0)
    rule = LossRule(alpha=-1.0, gamma=0.0, box_weight=3.0)
    losses = loss([target([0], [0])], deltas=deltas, rule=rule)
    assert losses.boxes.item() == pytest.approx(3 * 4 * 1.5)
    assert losses.classes.item() == pytest.approx(6 * LOG2)
    assert losses.total.item() == pytest.approx(18 + 6 * LOG2)


def test_ignored_anchors_are_left_out() -> None:
    losses = loss([target([0], [0], ignored=[1])])
    assert losses.classes.item() == pytest.approx(4 * LOG2)


def test_background_says_nothing_about_a_class_that_is_not_labelled_everywhere() -> None:
    # Anchor 0 is positive: both classes count. Anchors 1 and 2 are background: class 1 alone does.
    losses = loss([target([0], [0], complete="01")])
    assert losses.classes.item() == pytest.approx(4 * LOG2)


def test_incomplete_class_gets_no_gradient_from_background() -> None:
    logits = torch.zeros(1, 3, 2, requires_grad=True)
    loss([target([0], [0], complete="01")], logits).classes.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.ne(0)[0].tolist() == [[True, True], [False, True], [False, True]]


@pytest.mark.parametrize("box", ["smooth_l1", "l1", "giou"])
def test_images_without_boxes_still_reach_every_parameter(box: str) -> None:
    model = build_retinanet(2, "mobilenet_v2", head_width=16, head_depth=1).train()
    empty = Target(NONE, torch.zeros(0, dtype=torch.int64), NONE, torch.ones(2, dtype=torch.bool))
    losses = detection_loss(
        model(torch.randn(2, 3, 64, 64)),
        anchors_of_canvas((64, 64)),
        [empty, empty],
        Matching(),
        LossRule(box=box),
    )
    assert losses.boxes.item() == 0.0
    assert losses.total.isfinite()
    losses.total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_first_loss_of_a_fresh_model_is_what_the_prior_makes_it() -> None:
    model = build_retinanet(3, "mobilenet_v2", head_width=16, head_depth=1).train()
    boxes = torch.tensor([[8.0, 8.0, 72.0, 72.0], [64.0, 40.0, 104.0, 90.0]])
    truth = Target(boxes, torch.tensor([0, 2]), NONE, torch.ones(3, dtype=torch.bool))
    losses = detection_loss(
        model(torch.randn(1, 3, 96, 128)),
        anchors_of_canvas((96, 128)),
        [truth],
        Matching(),
        LossRule(),
    )
    # Each positive costs .25 * .99^2 * -log(.01) = 1.128, background little; without the prior the
    # thousands of background anchors would cost hundreds.
    assert 1.1 < losses.classes.item() < 1.5
    assert losses.positives.item() > 10
