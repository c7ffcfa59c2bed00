"""The assembled network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from model.anchors import anchors_of_canvas
from model.errors import InputError
from model.geometry import AnchorSpec
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
        logits, deltas = tiny(norm="trained")(torch.randn(2, 3, 64, 64))
    assert torch.sigmoid(logits[0]).mean().item() == pytest.approx(0.01, abs=5e-4)
    assert deltas[0].abs().max() < 0.2


def test_prior_is_on_the_last_class_convolution_alone() -> None:
    for name, module in tiny().named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            # The logit of .01.
            expected = -4.59512 if name == "class_head.output" else 0.0
            assert module.bias.detach().tolist() == pytest.approx([expected] * len(module.bias))


def test_class_and_box_subnets_share_nothing() -> None:
    model = tiny()
    class_parameters = {id(p) for p in model.class_head.parameters()}
    assert not class_parameters & {id(p) for p in model.box_head.parameters()}


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


def test_architecture_reaches_every_part() -> None:
    with torch.device("meta"):
        model = build_retinanet(
            2,
            "resnet50",
            head_width=64,
            norm="trained",
            norm_eps=1e-3,
            stride_in_1x1=True,
            head_norm="group",
            p6_from="p5",
        )
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 53
    assert {norm.eps for norm in norms} == {1e-3}
    assert model.backbone.get_submodule("layer2.0.conv1").stride == (2, 2)
    assert model.fpn.p6.weight.shape == (64, 64, 3, 3)
    groups = [m for m in model.modules() if isinstance(m, nn.GroupNorm)]
    assert len(groups) == 2 * 4
    assert {norm.eps for norm in groups} == {1e-5}


@pytest.mark.parametrize("options", [{"norm": "trained"}, {"head_norm": "group"}])
def test_image_alone_equals_itself_in_a_batch_with_every_norm(options: dict[str, Any]) -> None:
    model = build_retinanet(2, "mobilenet_v2", head_width=64, head_depth=1, **options).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        alone, together = model(images[1:]), model(images)
    assert torch.allclose(alone.logits[0][0], together.logits[0][1], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes 0"),
        ({"num_classes": 1, "head_width": 0}, "head_width 0"),
        ({"num_classes": 1, "prior": 1.0}, "prior 1.0"),
        ({"num_classes": 1, "backbone": "vgg"}, "backbone 'vgg'"),
        ({"num_classes": 1, "norm": "batch"}, "norm 'batch': accepted are frozen, trained, sync"),
        ({"num_classes": 1, "head_norm": "layer"}, "head_norm 'layer': accepted are none, group"),
        ({"num_classes": 1, "p6_from": "c4"}, "p6_from 'c4': accepted are c5, p5"),
        ({"num_classes": 1, "norm_eps": -1e-5}, "norm_eps -1e-05: accepted are numbers above 0"),
        ({"num_classes": 1, "norm_eps": float("nan")}, "norm_eps nan"),
        ({"num_classes": 1, "norm_eps": 0.0, "norm": "trained"}, "norm_eps 0.0"),
        (
            {"num_classes": 1, "head_norm": "group", "head_width": 40},
            "head_width 40: accepted with head_norm 'group' are multiples of its 32 groups",
        ),
        ({"num_classes": 1, "head_norm": "group", "head_width": 32}, "head_width 32.* from 64 on"),
        (
            {"num_classes": 1, "backbone": "resnet18", "stride_in_1x1": True},
            "resnet18 has no bottlenecks",
        ),
    ],
)
def test_bad_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_retinanet(**options)
