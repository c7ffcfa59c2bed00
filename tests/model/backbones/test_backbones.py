"""Backbones: torchvision's keys and shapes, constant statistics, loading weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.backbones.norm import FrozenBatchNorm2d
from model.backbones.registry import BACKBONES, build_backbone, load_backbone_weights
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


def test_unknown_backbone_lists_the_accepted_ones() -> None:
    with pytest.raises(InputError, match="'vgg16': accepted are mobilenet_v2, resnet18"):
        build_backbone("vgg16")


def test_frozen_norm_is_the_affine_of_its_statistics() -> None:
    norm = FrozenBatchNorm2d(1)
    norm.load_state_dict(
        {
            "weight": torch.tensor([3.0]),
            "bias": torch.tensor([0.5]),
            "running_mean": torch.tensor([2.0]),
            "running_var": torch.tensor([4.0]),
        }
    )
    # By hand: 8 less the mean is 6, over the deviation 2 is 3, times 3 plus .5.
    assert norm(torch.full((1, 1, 1, 1), 8.0)).item() == pytest.approx(9.5, abs=1e-4)


def test_frozen_norm_never_changes_in_training() -> None:
    norm = FrozenBatchNorm2d(2).train()
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm(torch.randn(4, 2, 3, 3) * 10 + 5)
    assert all(torch.equal(before[key], value) for key, value in norm.state_dict().items())
    assert not list(norm.parameters())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MobileNetV2 classifier's file, as torchvision would write it."""
    torch.manual_seed(1)
    state: dict[str, Tensor] = {}
    for key, value in build_backbone("mobilenet_v2").state_dict().items():
        state[key] = torch.randn_like(value)
        if key.endswith("running_var"):
            state[key.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    state["features.18.0.weight"] = torch.zeros(2, 2)
    state["classifier.1.weight"] = torch.zeros(2, 2)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.save(state, path)
    return path


def test_weights_load_and_the_classifier_is_left_aside(weights: Path) -> None:
    backbone = build_backbone("mobilenet_v2")
    load_backbone_weights(backbone, weights)
    given = torch.load(weights, weights_only=True)
    state = backbone.state_dict()
    assert all(torch.equal(value, given[key]) for key, value in state.items())


def test_weights_of_another_backbone_are_refused(weights: Path) -> None:
    with pytest.raises(InputError, match=r"mobilenet\.pth: no 'bn1\.bias'.*another backbone"):
        load_backbone_weights(build_backbone("resnet18"), weights)


def test_unexpected_key_is_named(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save({**state, "features.17.extra": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(InputError, match=r"unexpected 'features\.17\.extra'"):
        load_backbone_weights(build_backbone("mobilenet_v2"), tmp_path / "more.pth")


def test_key_of_another_shape_is_named(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save({**state, "features.0.0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "half.pth")
    with pytest.raises(InputError, match=r"features\.0\.0\.weight has shape \(8, 3, 3, 3\)"):
        load_backbone_weights(build_backbone("mobilenet_v2"), tmp_path / "half.pth")


def test_truncated_weights_are_refused_in_one_line(weights: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pth"
    cut.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"cut\.pth: not a weights file: accepted is") as caught:
        load_backbone_weights(build_backbone("mobilenet_v2"), cut)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"model": {"a": 1}}])
def test_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: holds no state dict"):
        load_backbone_weights(build_backbone("mobilenet_v2"), tmp_path / "other.pth")


def test_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth: no such weights file"):
        load_backbone_weights(build_backbone("mobilenet_v2"), tmp_path / "none.pth")


def test_real_imagenet_weights_load(backbones: Path) -> None:
    backbone = build_backbone("mobilenet_v2")
    load_backbone_weights(backbone, backbones / "mobilenet_v2_imagenet_backbone.pth")
    # Its batch norm was folded into the convolutions, see the data's README.
    assert backbone.state_dict()["features.0.1.running_mean"].eq(0).all()
