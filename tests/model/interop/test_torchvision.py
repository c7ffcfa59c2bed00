"""Imports from torchvision, against plain functions of its state dict and, where it is, itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import InputError
from model.geometry import AnchorSpec
from model.interop.torchvision import ANCHORS, read_torchvision
from tests.model.interop.ours import found_by
from tests.model.interop.plain import State, without_twin
from tests.model.interop.plain_torchvision import as_of_old, detect, random_state


def saved(folder: Path, content: Any) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def v1() -> State:
    return random_state(1)


@pytest.fixture(scope="module")
def v2() -> State:
    return random_state(2, v2=True)


def assert_same(state: State, path: Path, image: np.ndarray, version: str, eps: float) -> None:
    imported = read_torchvision(path, "none" if version == "v1" else "group", None)
    expected = detect(state, image, eps)
    found = found_by(imported, image)
    assert len(expected.scores) > 20
    assert len(found.scores) == len(expected.scores)
    # Rounding may decide differently between two boxes of almost the same score or overlap.
    assert without_twin(expected, found) <= 1
    assert without_twin(found, expected) <= 1


def test_v1_detects_as_torchvision_does(tmp_path: Path, v1: State, image: np.ndarray) -> None:
    assert_same(v1, saved(tmp_path, v1), image, "v1", eps=0.0)


def test_v2_detects_as_torchvision_does(tmp_path: Path, v2: State, image: np.ndarray) -> None:
    assert_same(v2, saved(tmp_path, v2), image, "v2", eps=1e-5)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_resnet50_detects_as_torchvision_does(
    tmp_path: Path, image: np.ndarray, version: str
) -> None:
    state = random_state(3, (3, 4, 6, 3), bottleneck=True, v2=version == "v2")
    eps = 0.0 if version == "v1" else 1e-5
    assert_same(state, saved(tmp_path, state), image, version, eps)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_eps": 1e-5},
        {"anchors": AnchorSpec(offset=0.0)},
        {"anchors": AnchorSpec(offset=0.5, rounding="torchvision")},
    ],
    ids=["eps", "rounding", "offset"],
)
def test_other_conventions_would_show(
    tmp_path: Path, v1: State, image: np.ndarray, changes: dict[str, Any]
) -> None:
    imported = read_torchvision(saved(tmp_path, v1), "none", None)
    expected = detect(v1, image, eps=0.0)
    assert without_twin(expected, found_by(imported, image, changes)) > 5


def test_p6_is_made_of_p5_in_v1_and_of_c5_in_v2(tmp_path: Path, v1: State, v2: State) -> None:
    first = read_torchvision(saved(tmp_path, v1), "none", None)
    second = read_torchvision(saved(tmp_path, v2), "group", None)
    assert first.architecture.p6_from == "p5"
    assert second.architecture.p6_from == "c5"


def test_old_names_are_read(tmp_path: Path, v1: State) -> None:
    old = as_of_old(v1)
    assert "head.regression_head.conv.6.weight" in old
    assert "backbone.fpn.inner_blocks.0.weight" in old
    mine = read_torchvision(saved(tmp_path, old), "none", None).state
    other = read_torchvision(saved(tmp_path, v1), "none", None).state
    assert all(torch.equal(mine[key], other[key]) for key in other)


def test_training_checkpoint_is_read(tmp_path: Path, v1: State) -> None:
    content = {"model": v1, "epoch": 3, "args": argparse.Namespace(lr=0.01)}
    imported = read_torchvision(saved(tmp_path, content), "none", None)
    assert torch.equal(imported.state["fpn.p7.bias"], v1["backbone.fpn.extra_blocks.p7.bias"])


@pytest.mark.parametrize(
    ("blocks", "options", "name"),
    [
        ((3, 4, 6, 3), {}, "resnet34"),
        ((3, 4, 23, 3), {"bottleneck": True}, "resnet101"),
        ((3, 4, 6, 3), {"bottleneck": True, "groups": 32, "group_width": 4}, "resnext50_32x4d"),
    ],
)
def test_backbone_is_known_by_its_parameters(
    tmp_path: Path, blocks: tuple[int, int, int, int], options: dict[str, Any], name: str
) -> None:
    path = saved(tmp_path, random_state(4, blocks, **options, width=32))
    architecture = read_torchvision(path, "none", None).architecture
    assert (architecture.backbone, architecture.head_width) == (name, 32)


def test_eps_is_what_torchvision_uses(tmp_path: Path, v1: State, v2: State) -> None:
    counter = {"backbone.body.bn1.num_batches_tracked": torch.tensor(7)}
    for state, norm, given, expected in (
        (v1, "none", None, 0.0),
        (v1, "none", 1e-5, 1e-5),
        (v1 | counter, "none", None, 1e-5),
        (v2 | counter, "group", None, 1e-5),
        (v2, "group", 1e-3, 1e-3),
    ):
        imported = read_torchvision(saved(tmp_path, state), norm, given)  # type: ignore[arg-type]
        assert imported.architecture.norm_eps == expected
        assert any("eps 0" in note for note in imported.notes) == (expected == 0.0)


def test_half_precision_becomes_single(tmp_path: Path, v1: State) -> None:
    path = saved(tmp_path, {key: value.half() for key, value in v1.items()})
    assert read_torchvision(path, "none", None).state["fpn.p7.bias"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.regression_head.bbox_reg.bias": None}, "no 'head.regression_head.bbox_reg.bias'"),
        (
            {"backbone.body.layer3.1.bn2.running_var": None},
            "no 'backbone.body.layer3.1.bn2.running_var', which a RetinaNet with resnet18 has",
        ),
        (
            {"backbone.body.layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)},
            r"'backbone.body.layer2.0.conv1.weight' has shape \(128, 64, 1, 1\), a RetinaNet with "
            r"resnet18 needs \(128, 64, 3, 3\)",
        ),
        (
            {"backbone.fpn.inner_blocks.3.0.bias": torch.zeros(64)},
            "inner_blocks.3.0.bias' is no pa",
        ),
        ({"head.regression_head.bbox_reg.bias": torch.zeros(12)}, "12 box channels do not come"),
        ({"lr": 0.1}, "'lr' is no tensor"),
    ],
)
def test_offender_is_named(tmp_path: Path, v1: State, change: dict[str, Any], message: str) -> None:
    state = {key: value for key, value in (v1 | change).items() if value is not None}
    with pytest.raises(InputError, match=rf"weights\.pth: .*{message}"):
        read_torchvision(saved(tmp_path, state), "none", None)


def test_v1_is_no_v2(tmp_path: Path, v1: State, v2: State) -> None:
    with pytest.raises(InputError, match=r"no 'head.classification_head.conv.0.0.bias'"):
        read_torchvision(saved(tmp_path, v2), "none", None)
    with pytest.raises(InputError, match=r"no 'head.classification_head.conv.0.1.weight'"):
        read_torchvision(saved(tmp_path, v1), "group", None)


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {}}, {"model": [1]}])
def test_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InputError, match=r"weights\.pth: "):
        read_torchvision(saved(tmp_path, content), "none", None)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_equals_torchvision_itself(tmp_path: Path, image: np.ndarray, version: str) -> None:
    detection = pytest.importorskip("torchvision.models.detection", exc_type=ImportError)
    name = "retinanet_resnet50_fpn" + ("" if version == "v1" else "_v2")
    source = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=3).eval()
    state = random_state(5, (3, 4, 6, 3), bottleneck=True, v2=version == "v2", width=256)
    # Batch norm that is not frozen keeps the counters that frozen has none of.
    missing, unknown = source.load_state_dict(state, strict=False)
    assert not unknown
    assert all(key.endswith("num_batches_tracked") for key in missing)
    source.transform.min_size, source.transform.max_size = (image.shape[0],), image.shape[1]
    source.transform.size_divisible = 128
    with torch.no_grad():
        (theirs,) = source([torch.from_numpy(image).permute(2, 0, 1) / 255])
    imported = read_torchvision(
        saved(tmp_path, source.state_dict()), "none" if version == "v1" else "group", None
    )
    found = found_by(imported, image)
    solid = (theirs["boxes"][:, 2:] > theirs["boxes"][:, :2]).all(dim=1)
    expected = found._replace(
        boxes=theirs["boxes"][solid].numpy(),
        scores=theirs["scores"][solid].numpy(),
        classes=theirs["labels"][solid].numpy(),
    )
    assert len(expected.scores) > 20
    assert without_twin(expected, found) <= 1
    assert without_twin(found, expected) <= 1
    assert imported.architecture.anchors == ANCHORS
