"""Backbones: torchvision's keys and shapes, and a signal that keeps its size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.backbones.norm import BackboneNorm
from model.backbones.registry import BACKBONES, build_backbone
from model.errors import InputError

# Parameters of torchvision's classifiers without the last layer (MobileNetV2: without features.18).
PARAMETERS = {
    "mobilenet_v2": 1_811_712,
    "resnet18": 11_176_512,
    "resnet34": 21_284_672,
    "resnet50": 23_508_032,
    "resnet101": 42_500_160,
    "resnet152": 58_143_808,
    "resnext50_32x4d": 22_979_904,
    "resnext101_32x8d": 86_742_336,
}

SHAPES = [
    ("resnet18", "layer2.0.downsample.0.weight", (128, 64, 1, 1)),
    ("resnet18", "layer4.1.bn2.running_var", (512,)),
    ("resnet50", "conv1.weight", (64, 3, 7, 7)),
    ("resnet50", "bn1.running_mean", (64,)),
    ("resnet50", "layer1.0.conv1.weight", (64, 64, 1, 1)),
    ("resnet50", "layer1.0.downsample.1.bias", (256,)),
    ("resnet50", "layer3.5.conv2.weight", (256, 256, 3, 3)),
    ("resnet50", "layer4.2.bn3.weight", (2048,)),
    ("resnext50_32x4d", "layer1.0.conv2.weight", (128, 4, 3, 3)),
    ("resnext101_32x8d", "layer4.0.conv2.weight", (2048, 64, 3, 3)),
    ("mobilenet_v2", "features.0.0.weight", (32, 3, 3, 3)),
    ("mobilenet_v2", "features.0.1.running_mean", (32,)),
    ("mobilenet_v2", "features.1.conv.0.0.weight", (32, 1, 3, 3)),
    ("mobilenet_v2", "features.1.conv.1.weight", (16, 32, 1, 1)),
    ("mobilenet_v2", "features.17.conv.0.0.weight", (960, 160, 1, 1)),
    ("mobilenet_v2", "features.17.conv.3.running_var", (320,)),
]


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build_backbone(name).state_dict().items()}


def test_every_backbone_is_counted_here() -> None:
    assert set(BACKBONES) == set(PARAMETERS)


def test_every_backbone_is_on_its_page_with_its_file() -> None:
    page = (Path(__file__).parents[3] / "docs" / "backbones.md").read_text(encoding="utf-8")
    for name, kind in BACKBONES.items():
        assert f"| `{name}` | `{kind.imagenet}` |" in page


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_is_torchvisions(name: str) -> None:
    counted = [
        torch.Size(shape).numel() for key, shape in shapes_of(name).items() if "running" not in key
    ]
    assert sum(counted) == PARAMETERS[name]


@pytest.mark.parametrize(("name", "key", "shape"), SHAPES)
def test_key_has_torchvisions_name_and_shape(name: str, key: str, shape: tuple[int, ...]) -> None:
    assert shapes_of(name)[key] == shape


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50"])
def test_features_have_strides_8_16_32(name: str) -> None:
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, (8, 16, 32), strict=True)
    ]


def test_bottleneck_stride_is_on_the_3x3_convolution() -> None:
    with torch.device("meta"):
        block = build_backbone("resnet50").get_submodule("layer2.0")
    assert block.get_submodule("conv1").stride == (1, 1)
    assert block.get_submodule("conv2").stride == (2, 2)


def test_msra_bottleneck_has_its_stride_on_the_first_1x1_convolution() -> None:
    with torch.device("meta"):
        backbone = build_backbone("resnet50", stride_in_1x1=True)
    block = backbone.get_submodule("layer2.0")
    assert block.get_submodule("conv1").stride == (2, 2)
    assert block.get_submodule("conv2").stride == (1, 1)
    assert block.get_submodule("downsample.0").stride == (2, 2)
    features = backbone(torch.zeros(1, 3, 64, 96, device="meta"))
    assert [tuple(f.shape[2:]) for f in features] == [(8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet34"])
def test_stride_in_1x1_needs_bottlenecks(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} has no bottlenecks; accepted are resnet50, res"):
        build_backbone(name, stride_in_1x1=True)


@pytest.mark.parametrize("norm", ["frozen", "trained"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50"])
def test_random_weights_neither_shrink_nor_blow_up_the_signal(
    name: str, norm: BackboneNorm
) -> None:
    backbone = build_backbone(name, norm)
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, 64, 64))
    # Frozen norm leaves the sums of 16 residual blocks as they are.
    bounds = (0.5, 2.5) if norm == "trained" else (0.5, 30)
    assert all(bounds[0] < feature.std().item() < bounds[1] for feature in features)


def test_unknown_backbone_lists_the_accepted_ones() -> None:
    with pytest.raises(InputError, match="'vgg16': accepted are mobilenet_v2, resnet18"):
        build_backbone("vgg16")
