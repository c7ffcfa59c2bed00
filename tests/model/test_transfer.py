"""Starting from a checkpoint of other classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from model.checkpoint import Checkpoint
from model.errors import InputError
from model.geometry import AnchorSpec
from model.retinanet import Architecture, RetinaNet
from model.transfer import start_from

TWO_ANCHORS = AnchorSpec(scales=(1.0,), ratios=(0.5, 2.0))
TINY = Architecture(3, "mobilenet_v2", head_width=8, head_depth=1, anchors=TWO_ANCHORS)
LEARNT = ("cat", "dog", "bird")


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(3)
    state = {key: torch.rand_like(value) for key, value in RetinaNet(TINY).state_dict().items()}
    return Checkpoint(TINY, LEARNT, state)


def model_of(num_classes: int, **options: Any) -> RetinaNet:
    return RetinaNet(replace(TINY, num_classes=num_classes, **options))


def test_same_classes_take_every_weight(checkpoint: Checkpoint) -> None:
    model = model_of(3)
    assert start_from(model, checkpoint, LEARNT) == LEARNT
    assert all(value.equal(checkpoint.state[key]) for key, value in model.state_dict().items())


def test_classes_keep_what_they_learnt_wherever_they_stand(checkpoint: Checkpoint) -> None:
    model = model_of(4)
    built = {key: value.clone() for key, value in model.state_dict().items()}
    kept = start_from(model, checkpoint, ("bird", "fish", "cow", "cat"))
    assert kept == ("bird", "cat")
    for part in ("weight", "bias"):
        key = f"class_head.output.{part}"
        found, fresh, old = model.state_dict()[key], built[key], checkpoint.state[key]
        # Two anchors, anchor slowest: of 4 classes here, of 3 there.
        for ours, theirs in ((0, 2), (3, 0), (4, 5), (7, 3)):
            assert found[ours].equal(old[theirs])
        for row in (1, 2, 5, 6):
            assert found[row].equal(fresh[row])
    # The logit of .01.
    bias = model.class_head.output.bias
    assert bias is not None
    assert bias[[1, 2, 5, 6]].tolist() == pytest.approx([-4.59512] * 4)


def test_all_but_the_class_output_is_taken_over(checkpoint: Checkpoint) -> None:
    model = model_of(1)
    assert start_from(model, checkpoint, ("fish",)) == ()
    changed = {
        key for key, value in model.state_dict().items() if not value.equal(checkpoint.state[key])
    }
    assert changed == {"class_head.output.weight", "class_head.output.bias"}


@pytest.mark.parametrize("norms", [("frozen", "trained"), ("trained", "frozen")])
def test_norm_may_be_trained_from_here_on_or_no_longer(norms: Any) -> None:
    before = model_of(3, norm=norms[0])
    torch.nn.init.constant_(before.backbone.get_buffer("features.0.1.running_mean"), 0.5)
    model = model_of(3, norm=norms[1])
    start_from(model, Checkpoint(before.architecture, LEARNT, before.state_dict()), LEARNT)
    assert model.backbone.get_buffer("features.0.1.running_mean").eq(0.5).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_width": 16}, "has head_width 8 and not 16; accepted is the same"),
        ({"anchors": AnchorSpec()}, "has anchors AnchorSpec.* and not AnchorSpec"),
        ({"norm_eps": 0.0, "p6_from": "p5"}, "norm_eps 1e-05 and not 0.0, p6_from 'c5' and not"),
        ({"backbone": "resnet18"}, "has backbone 'mobilenet_v2' and not 'resnet18'"),
    ],
)
def test_what_does_not_fit_is_named(
    checkpoint: Checkpoint, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        start_from(model_of(3, **options), checkpoint, LEARNT)


def test_weights_for_pixels_of_another_deviation_are_scaled_for_ours(
    checkpoint: Checkpoint,
) -> None:
    checkpoint.std = (1 / 255, 1 / 255, 1 / 255)
    model = model_of(3)
    start_from(model, checkpoint, LEARNT)
    first = "backbone.features.0.0"
    pixels = torch.rand(1, 3, 8, 8) - torch.tensor(checkpoint.mean)[:, None, None]
    theirs = torch.nn.functional.conv2d(pixels * 255, checkpoint.state[f"{first}.weight"])
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    weight = model.state_dict()[f"{first}.weight"]
    ours = torch.nn.functional.conv2d(pixels / deviation, weight)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-2)  # of some hundreds


def test_weights_for_pixels_of_another_mean_are_refused(checkpoint: Checkpoint) -> None:
    checkpoint.mean = (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match=r"less the mean \(0\.5, 0\.5, 0\.5\); accepted is"):
        start_from(model_of(3), checkpoint, LEARNT)
