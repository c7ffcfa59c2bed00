"""Imports from detectron2, against plain functions of its state dict and, where it is, itself."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import InputError
from model.geometry import AnchorSpec
from model.interop.detectron2 import read_detectron2
from tests.model.interop.ours import found_by
from tests.model.interop.plain import Found, State, without_twin
from tests.model.interop.plain_detectron2 import (
    FAIR,
    MSRA,
    TORCHVISION,
    Style,
    cell_anchors,
    detect,
    random_state,
)

RESNET50 = {"blocks": (3, 4, 6, 3), "bottleneck": True}


def saved(folder: Path, state: State, **more: Any) -> Path:
    """The state as a file of the model zoo."""
    path = folder / "model_final.pkl"
    content = {"model": {key: value.numpy() for key, value in state.items()}, **more}
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.fixture(scope="module")
def msra() -> State:
    return random_state(1, MSRA, **RESNET50)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def small() -> State:
    return random_state(2, MSRA)


def assert_same(expected: Found, found: Found) -> None:
    assert len(expected.scores) > 20
    assert len(found.scores) == len(expected.scores)
    # Rounding may decide differently between two boxes of almost the same score or overlap.
    assert without_twin(expected, found) <= 1
    assert without_twin(found, expected) <= 1


def assert_detects_alike(
    state: State, path: Path, image: np.ndarray, style: Style, pretrained: Any
) -> None:
    imported = read_detectron2(path, pretrained, None)
    assert_same(
        detect(state, image, style, clip_first=True),
        found_by(imported, image, max_detections=100),
    )


def test_msra_detects_as_detectron2_does(tmp_path: Path, msra: State, image: np.ndarray) -> None:
    assert_detects_alike(msra, saved(tmp_path, msra), image, MSRA, None)


def test_basic_blocks_detect_as_detectron2_does(
    tmp_path: Path, small: State, image: np.ndarray
) -> None:
    assert_detects_alike(small, saved(tmp_path, small), image, MSRA, None)


def test_resnext_detects_as_detectron2_does(tmp_path: Path, image: np.ndarray) -> None:
    state = random_state(3, FAIR, (3, 4, 6, 3), bottleneck=True, groups=32, group_width=4)
    assert_detects_alike(state, saved(tmp_path, state), image, FAIR, None)


def test_torchvision_backbone_detects_as_detectron2_does(tmp_path: Path, image: np.ndarray) -> None:
    state = random_state(4, TORCHVISION, **RESNET50)  # type: ignore[arg-type]
    assert_detects_alike(state, saved(tmp_path, state), image, TORCHVISION, "torchvision")


def test_only_the_order_of_nms_and_clipping_differs(
    tmp_path: Path, small: State, image: np.ndarray
) -> None:
    """Without NMS all that detectron2 finds, in its own order, is found."""
    imported = read_detectron2(saved(tmp_path, small), None, None)
    expected = detect(small, image, MSRA, clip_first=False, iou_threshold=1.0)
    found = found_by(imported, image, max_detections=100, iou_threshold=1.0)
    assert_same(expected, found)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_eps": 0.0},
        {"stride_in_1x1": False},
        {"anchors": AnchorSpec(offset=0.5)},
        {"anchors": AnchorSpec(offset=0.0, rounding="torchvision")},
    ],
    ids=["eps", "stride", "offset", "rounding"],
)
def test_other_conventions_would_show(
    tmp_path: Path, msra: State, image: np.ndarray, changes: dict[str, Any]
) -> None:
    imported = read_detectron2(saved(tmp_path, msra), None, None)
    expected = detect(msra, image, MSRA, clip_first=True)
    found = found_by(imported, image, changes, max_detections=100)
    assert without_twin(expected, found) > 5


def test_pixels_are_translated(tmp_path: Path, small: State) -> None:
    path = saved(tmp_path, small)
    imported = read_detectron2(path, None, None)
    assert imported.mean == pytest.approx((0.485, 0.456, 0.406))
    assert imported.std == pytest.approx((1 / 255, 1 / 255, 1 / 255))
    kept = read_detectron2(path, "torchvision", None)
    assert kept.std == pytest.approx((0.229, 0.224, 0.225))
    first, flipped = kept.state["backbone.conv1.weight"], imported.state["backbone.conv1.weight"]
    assert torch.equal(first[:, 0], flipped[:, 2])
    assert torch.equal(first[:, 1], flipped[:, 1])


def test_file_of_its_own_training_is_read(tmp_path: Path, small: State) -> None:
    torch.save({"model": small, "iteration": 9}, tmp_path / "model_0000009.pth")
    trained = read_detectron2(tmp_path / "model_0000009.pth", None, None)
    zoo = read_detectron2(saved(tmp_path, small, __author__="zoo"), None, None)
    assert all(torch.equal(trained.state[key], zoo.state[key]) for key in zoo.state)


def constants(style: Style) -> State:
    """What files of older versions hold besides the parameters."""
    held = {
        f"anchor_generator.cell_anchors.{level}": torch.tensor(cell_anchors(32 * 2**level))
        for level in range(5)
    }
    for name, values in (("mean", style[1]), ("std", style[2])):
        held[f"pixel_{name}"] = torch.tensor(values)[:, None, None]
    return held


def test_constants_of_older_versions_are_accepted(tmp_path: Path, small: State) -> None:
    imported = read_detectron2(saved(tmp_path, small | constants(MSRA)), None, None)
    assert imported.architecture.backbone == "resnet18"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            constants(FAIR),
            r"pixel_std is not the \[1.0, 1.0, 1.0\] of what began with msra weights",
        ),
        (
            {"anchor_generator.cell_anchors.1": torch.tensor(cell_anchors(32))},
            "'anchor_generator.cell_anchors.1' differs from the anchors",
        ),
        ({"anchor_generator.cell_anchors.4": torch.zeros(3, 4)}, "cell_anchors.4' differs"),
        ({"backbone.fpn_lateral3.norm.weight": torch.zeros(64)}, "fpn_lateral3.norm.weight' is no"),
        ({"head.bbox_pred.bias": torch.zeros(60)}, "60 box channels do not come from 9 anchors"),
        ({"head.cls_score.bias": None}, "no 'head.cls_score.bias'"),
        (
            {"backbone.bottom_up.res5.1.conv2.norm.bias": None},
            "no 'backbone.bottom_up.res5.1.conv2.norm.bias', which a RetinaNet with resnet18 has",
        ),
        (
            {"backbone.top_block.p6.weight": torch.zeros(64, 64, 3, 3)},
            r"p6.weight' has shape \(64, 64, 3, 3\), .* needs \(64, 512, 3, 3\)",
        ),
    ],
)
def test_offender_is_named(
    tmp_path: Path, small: State, change: dict[str, Any], message: str
) -> None:
    state = {key: value for key, value in (small | change).items() if value is not None}
    with pytest.raises(InputError, match=rf"model_final\.pkl: .*{message}"):
        read_detectron2(saved(tmp_path, state), None, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_equals_detectron2_itself(tmp_path: Path, image: np.ndarray) -> None:
    config = pytest.importorskip("detectron2.config", exc_type=ImportError)
    modeling = pytest.importorskip("detectron2.modeling", exc_type=ImportError)
    cfg = config.get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    cfg.MODEL.BACKBONE.NAME = "build_retinanet_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = ["res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 64
    cfg.MODEL.RETINANET.NUM_CLASSES = 3
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [
        [x, x * 2 ** (1.0 / 3), x * 2 ** (2.0 / 3)] for x in (32, 64, 128, 256, 512)
    ]
    # Without NMS, since it comes before clipping there.
    cfg.MODEL.RETINANET.NMS_THRESH_TEST = 1.0
    source = modeling.build_model(cfg).eval()
    state = random_state(5, MSRA, **RESNET50)  # type: ignore[arg-type]
    source.load_state_dict(state)
    # An image that fills the canvas: detectron2 pads to multiples of 32.
    full = np.pad(image, ((0, 8), (0, 56), (0, 0)), mode="reflect")
    bgr = torch.from_numpy(full[..., ::-1].copy()).permute(2, 0, 1)
    with torch.no_grad():
        theirs = source([{"image": bgr}])[0]["instances"]
    imported = read_detectron2(saved(tmp_path, source.state_dict()), None, None)
    found = found_by(imported, full, max_detections=100, iou_threshold=1.0)
    expected = Found(
        theirs.pred_boxes.tensor.numpy(), theirs.scores.numpy(), theirs.pred_classes.numpy()
    )
    assert_same(expected, found)
