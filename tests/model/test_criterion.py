"""The loss of a batch on a handful of anchors."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import model.criterion as criterion
from model.anchors import anchors_of_canvas
from model.criterion import Losses, Target, detection_loss
from model.losses.mining import Mining
from model.losses.rule import LossRule
from model.matching import Matching
from model.retinanet import Predictions, build_retinanet

ANCHORS = torch.tensor(
    [[0.0, 0.0, 10.0, 10.0], [100.0, 0.0, 110.0, 10.0], [200.0, 0.0, 210.0, 10.0]]
)
NONE = torch.zeros(0, 4)
PLAIN = LossRule(classes="cross_entropy")
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
    rule = LossRule(classes="cross_entropy", box_weight=3.0)
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


def test_normaliser_of_the_paper_divides_each_image_by_its_own_positives() -> None:
    deltas = torch.zeros(2, 3, 4)
    deltas[:, 0, 0] = 2.0  # smooth L1: 1.5
    targets = [target([0, 1], [0, 1]), target([0], [0])]
    found = loss(targets, deltas=deltas, rule=LossRule(classes="cross_entropy", normaliser="image"))
    assert found.classes.item() == pytest.approx((6 * LOG2 / 2 + 6 * LOG2 / 1) / 2)
    assert found.boxes.item() == pytest.approx((1.5 / 2 + 1.5 / 1) / 2)


def test_normaliser_of_the_paper_is_one_for_an_image_without_positives() -> None:
    rule = LossRule(classes="cross_entropy", normaliser="image")
    found = loss([target([0, 1], [0, 1]), target([], [])], rule=rule)
    assert found.classes.item() == pytest.approx((6 * LOG2 / 2 + 6 * LOG2) / 2)


def test_balanced_cross_entropy_weighs_positives_by_alpha() -> None:
    rule = LossRule(classes="balanced_cross_entropy", alpha=0.75)
    found = loss([target([0], [1])], rule=rule)
    assert found.classes.item() == pytest.approx((0.75 + 5 * 0.25) * LOG2)


def test_quality_focal_targets_the_overlap_of_the_decoded_box() -> None:
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 0, 0] = 0.25  # moved by a quarter of its width: IoU 7.5 / 12.5 = .6
    logits = torch.full((1, 3, 2), -50.0)
    rule = LossRule(classes="quality_focal")
    logits[0, 0, 1] = math.log(0.6 / 0.4)
    found = loss([target([0], [1])], logits, deltas, rule)
    assert found.classes.item() == pytest.approx(0.0, abs=1e-6)
    logits[0, 0, 1] = 0.0
    found = loss([target([0], [1])], logits, deltas, rule)
    assert found.classes.item() == pytest.approx(0.1**2 * LOG2, rel=1e-4)


def test_quality_carries_no_gradient_to_the_deltas() -> None:
    deltas = torch.full((1, 3, 4), 0.1, requires_grad=True)
    logits = torch.zeros(1, 3, 2, requires_grad=True)
    found = loss([target([0], [1])], logits, deltas, LossRule(classes="quality_focal"))
    (gradient,) = torch.autograd.grad(found.classes, [deltas], allow_unused=True)
    assert gradient is None


def test_mined_loss_is_that_of_the_chosen_over_their_number() -> None:
    left = torch.arange(8) * 20.0
    anchors = torch.stack([left, left * 0, left + 10, left * 0 + 10], dim=1)
    # A background anchor costs log(1 + e^x); the positive one, anchor 2, log(1 + e^-x).
    x = torch.tensor([0.0, 4.0, -5.0, 3.0, -1.0, 2.0, -2.0, 1.0])
    truth = Target(anchors[[2]], torch.tensor([0]), NONE, torch.ones(1, dtype=torch.bool))
    logits = x[None, :, None].clone().requires_grad_()
    deltas = torch.full((1, 8, 4), 2.0)
    rule = LossRule(classes="cross_entropy", mining=Mining(batch_size=4))
    found = detection_loss(Predictions([logits], [deltas]), [anchors], [truth], Matching(), rule)
    chosen = [math.log1p(math.exp(value)) for value in (5.0, 4.0, 3.0, 2.0)]
    assert found.classes.item() == pytest.approx(sum(chosen) / 4)
    assert found.boxes.item() == pytest.approx(4 * 1.5)  # over the one positive, mined or not
    found.classes.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, :, 0].nonzero()[:, 0].tolist() == [1, 2, 3, 5]


def test_mining_leaves_out_what_is_not_labelled() -> None:
    rule = LossRule(classes="cross_entropy", mining=Mining(batch_size=4))
    found = loss([target([0], [0], complete="01")], rule=rule)
    # Three anchors are chosen: the positive speaks of both classes, the others of one.
    assert found.classes.item() == pytest.approx(4 * LOG2 / 3)


@pytest.mark.parametrize(("method", "expected"), [("ohem", 2 * LOG2), ("ohem_1_3", 0.0)])
def test_mining_of_an_image_without_boxes_is_finite(method: str, expected: float) -> None:
    logits = torch.zeros(1, 3, 2, requires_grad=True)
    rule = LossRule(classes="cross_entropy", mining=Mining(method, batch_size=4))
    found = loss([target([], [])], logits, rule=rule)
    assert found.classes.item() == pytest.approx(expected)
    found.total.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None


# Several processes.

WHOLE = [target([0, 1], [0, 1]), target([2], [0]), target([], []), target([1], [1], complete="01")]
RULES = {
    "batch": LossRule(),
    "image": LossRule(normaliser="image"),
    "mined": LossRule(classes="cross_entropy", mining=Mining(batch_size=4)),
    "quality": LossRule(classes="quality_focal", box="giou"),
}


class Scaled(nn.Module):
    """Predictions that depend on three parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Parameter(torch.tensor([1.5, -0.5, 0.8]))

    def forward(self, pictures: Tensor) -> Predictions:
        gain, bias, reach = self.parts.unbind()
        return Predictions([gain * pictures[:, :, :2] + bias], [reach * pictures[:, :, 2:]])


def losses_and_gradient(model: nn.Module, images: list[int], rule: LossRule) -> Tensor:
    """Of some of the images of WHOLE: class loss, box loss, three slopes."""
    pictures = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0))[images]
    model.zero_grad()
    found = detection_loss(
        model(pictures), [ANCHORS], [WHOLE[image] for image in images], Matching(), rule
    )
    found.total.backward()  # type: ignore[no-untyped-call]
    (parameter,) = model.parameters()
    assert parameter.grad is not None
    return torch.cat([torch.stack(found[:2]).detach(), parameter.grad])


def process(rank: int, folder: str, shares: list[list[int]]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    model = DistributedDataParallel(Scaled())
    found = {name: losses_and_gradient(model, shares[rank], rule) for name, rule in RULES.items()}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[[0, 1], [2, 3]], [[0, 1, 3], [2]]], ids=["even", "all empty"])
def test_two_processes_give_the_loss_and_gradient_of_one(
    tmp_path: Path, shares: list[list[int]]
) -> None:
    torch.multiprocessing.spawn(process, (str(tmp_path), shares), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, rule in RULES.items():
        one = losses_and_gradient(Scaled(), [0, 1, 2, 3], rule)
        assert torch.allclose((first[name] + second[name])[:2] / 2, one[:2], rtol=1e-5), name
        assert torch.equal(first[name][2:], second[name][2:]), name
        assert torch.allclose(first[name][2:], one[2:], rtol=1e-5, atol=1e-7), name


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_mean_over_shares_is_the_loss_and_gradient_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, rule: LossRule
) -> None:
    shares = ([0, 1, 3], [2])
    one = losses_and_gradient(Scaled(), [0, 1, 2, 3], rule)
    asked: list[Tensor] = []

    def listen(value: Tensor) -> Tensor:
        asked.append(value)
        return value

    monkeypatch.setattr(criterion, "world_size", lambda: 2)
    monkeypatch.setattr(criterion, "sum_across", listen)
    for share in shares:
        losses_and_gradient(Scaled(), share, rule)
    assert len(asked) == 2  # once a call, with boxes or without
    monkeypatch.setattr(criterion, "sum_across", lambda value: asked[0] + asked[1])
    found = [losses_and_gradient(Scaled(), share, rule) for share in shares]
    assert torch.allclose((found[0] + found[1]) / 2, one, rtol=1e-5, atol=1e-7)
