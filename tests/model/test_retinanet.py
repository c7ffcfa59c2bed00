"""The assembled network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from model.anchors import anchors_of_canvas
from model.errors import InputError
from model.geometry import AnchorSpec
from model.heads import Subnet
from model.retinanet import RetinaNet, build_retinanet


def tiny(num_classes: int = 2, **options: Any) -> RetinaNet:
    return build_retinanet(num_classes, "mobilenet_v2", head_width=16, head_depth=1, **options)


def test_resnet18_on_512x512_gives_every_anchor_of_every_level() -> None:
    model = build_retinanet(3, backbone="resnet18").eval()
    with torch.no_grad():
        logits, deltas = model(torch.rand(1, 3, 512, 512))
    counts = (36864, 9216, 2304, 576, 144)
    assert [tuple(level.shape) for level in logits] == [(1, n, 3) for n in counts]
    assert [tuple(level.shape) for level in deltas] == [(1, n, 4) for n in counts]
    assert all(level.dtype == torch.float32 for level in (*logits, *deltas))


@pytest.mark.parametrize("canvas", [(32, 32), (96, 160), (224, 32), (160, 128)])
def test_predictions_and_anchors_agree_on_every_canvas(canvas: tuple[int, int]) -> None:
    with torch.no_grad():
        logits, deltas = tiny().eval()(torch.zeros(1, 3, *canvas))
    anchors = [len(level) for level in anchors_of_canvas(canvas)]
    assert [level.shape[1] for level in logits] == anchors
    assert [level.shape[1] for level in deltas] == anchors


def test_every_anchor_starts_with_the_prior() -> None:
    with torch.no_grad():
        logits, deltas = tiny().eval()(torch.randn(1, 3, 64, 64))
    assert torch.sigmoid(logits[0]).mean().item() == pytest.approx(0.01, abs=5e-4)
    assert deltas[0].abs().max() < 0.1


def test_prior_is_on_the_last_class_convolution_alone() -> None:
    for name, module in tiny().named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            # The logit of .01.
            expected = -4.59512 if name == "class_head.output" else 0.0
            assert module.bias.detach().tolist() == pytest.approx([expected] * len(module.bias))


def test_subnet_weights_start_with_sigma_one_hundredth() -> None:
    head = build_retinanet(20, "mobilenet_v2", head_width=64).class_head
    assert head.output.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_class_and_box_subnets_share_nothing() -> None:
    model = tiny()
    class_parameters = {id(p) for p in model.class_head.parameters()}
    assert not class_parameters & {id(p) for p in model.box_head.parameters()}


def test_outputs_are_anchor_major_then_class() -> None:
    head = Subnet(width=1, depth=0, anchors=2, per_anchor=3)
    nn.init.zeros_(head.output.weight)
    head.output.bias = nn.Parameter(torch.arange(6.0))
    rows = head(torch.zeros(1, 1, 1, 1))
    assert rows.tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_locations_run_along_x_first() -> None:
    head = Subnet(width=1, depth=0, anchors=1, per_anchor=1)
    nn.init.zeros_(head.output.weight)
    head.output.weight.data[0, 0, 1, 1] = 1.0
    level = torch.tensor([[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]])
    assert head(level).flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_p7_sees_p6_through_a_relu() -> None:
    fpn = tiny().fpn
    nn.init.zeros_(fpn.p6.weight)
    nn.init.constant_(fpn.p6.bias, -1.0)  # type: ignore[arg-type]
    levels = fpn([torch.zeros(1, c, s, s) for c, s in ((32, 8), (96, 4), (320, 2))])
    assert levels[3].eq(-1).all()
    assert levels[4].eq(0).all()


def test_image_alone_equals_itself_in_a_batch() -> None:
    model = tiny().eval()
    images = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        alone, together = model(images[1:2]), model(images)
    for one, many in zip(
        (*alone.logits, *alone.deltas), (*together.logits, *together.deltas), strict=True
    ):
        # Other kernels may add in another order.
        assert torch.allclose(one[0], many[1], atol=1e-5)


def test_number_of_anchors_follows_the_spec() -> None:
    model = tiny(anchors=AnchorSpec(scales=(1.0,), ratios=(1.0,)))
    with torch.no_grad():
        logits, _ = model(torch.zeros(1, 3, 64, 64))
    assert [level.shape[1] for level in logits] == [64, 16, 4, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes 0"),
        ({"num_classes": 1, "head_width": 0}, "head_width 0"),
        ({"num_classes": 1, "prior": 1.0}, "prior 1.0"),
        ({"num_classes": 1, "backbone": "vgg"}, "backbone 'vgg'"),
    ],
)
def test_bad_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_retinanet(**options)
