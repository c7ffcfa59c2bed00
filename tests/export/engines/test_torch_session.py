"""A checkpoint in torch, against the eager model and the oracle of post-processing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.engines.device import Device
from export.engines.parity import BOUNDS, Differences
from export.engines.session import Detections, Session, SessionError, SessionRule
from export.engines.torch_session import fold_norms, open_session
from export.manifest import Precision, Thresholds
from model.anchors import anchors_of_canvas
from model.checkpoint import load_checkpoint, save_checkpoint
from model.errors import InputError
from model.files import sha256_of
from model.letterbox import canvases_of_scale
from model.normalise import normalise
from model.postprocess import detections_of
from model.synthetic.scene import draw_scene
from tests.tiny import make_tiny_checkpoint

CANVAS = (64, 96)
SIZES = np.array([[64, 96], [50, 96]], np.int64)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([draw_scene(seed, CANVAS).image for seed in (1, 2)])


@pytest.fixture(scope="module")
def expected(tiny_checkpoint: Path, images: np.ndarray) -> list[Detections]:
    checkpoint = load_checkpoint(tiny_checkpoint)
    sizes = torch.from_numpy(SIZES)
    with torch.no_grad():
        x = normalise(torch.from_numpy(images), sizes, checkpoint.mean, checkpoint.std)
        predictions = checkpoint.build()(x)
    anchors = anchors_of_canvas(CANVAS, checkpoint.architecture.anchors)
    found = detections_of(predictions, anchors, sizes)
    return [Detections(*(part.numpy() for part in one)) for one in found]


def opened(path: Path, precision: Precision | None = None, **options: object) -> Session:
    return open_session(SessionRule(path, Device(), precision, **options))  # type: ignore[arg-type]


def differences(session: Session, images: np.ndarray, expected: list[Detections]) -> Differences:
    found = session.run(images, SIZES, 0.05, 0.5)
    gathered = Differences(BOUNDS[session.precision], Thresholds())
    for mine, theirs in zip(expected, found, strict=True):
        gathered.compare(mine, theirs)
    return gathered


def test_detections_are_those_of_the_oracle(
    tiny_checkpoint: Path, images: np.ndarray, expected: list[Detections]
) -> None:
    found = opened(tiny_checkpoint).run(images, SIZES, 0.05, 0.5)
    for mine, theirs in zip(expected, found, strict=True):
        assert len(mine) > 20
        assert theirs.classes.tolist() == mine.classes.tolist()
        np.testing.assert_allclose(theirs.boxes, mine.boxes, atol=1e-3)
        np.testing.assert_allclose(theirs.scores, mine.scores, atol=1e-5)
        assert (theirs.boxes.dtype, theirs.scores.dtype, theirs.classes.dtype) == ("f4", "f4", "i8")


def test_bf16_finds_nearly_the_same(
    tiny_checkpoint: Path, images: np.ndarray, expected: list[Detections]
) -> None:
    gathered = differences(opened(tiny_checkpoint, "bf16"), images, expected)
    assert gathered.report()["worst_score"] > 1e-4  # it did run in bf16
    assert gathered.report()["unmatched_share"] < 0.1


def test_an_image_finds_the_same_alone_and_in_company(
    tiny_checkpoint: Path, images: np.ndarray
) -> None:
    session = opened(tiny_checkpoint)
    together = session.run(images, SIZES, 0.05, 0.5)
    for i in range(2):
        (alone,) = session.run(images[i : i + 1], SIZES[i : i + 1], 0.05, 0.5)
        np.testing.assert_allclose(alone.boxes, together[i].boxes, atol=1e-3)
        np.testing.assert_allclose(alone.scores, together[i].scores, atol=1e-5)


def test_run_heeds_the_thresholds(tiny_checkpoint: Path, images: np.ndarray) -> None:
    session = opened(tiny_checkpoint)
    (many, _) = session.run(images, SIZES, 0.05, 0.5)
    (some, _) = session.run(images, SIZES, 0.2, 0.5)
    assert some.scores.tolist() == [score for score in many.scores.tolist() if score > 0.2]
    (fewer, _) = session.run(images, SIZES, 0.05, 0.1)
    assert 0 < len(fewer) < len(many)


def test_manifest_is_made_of_the_checkpoint(tiny_checkpoint: Path) -> None:
    manifest = opened(tiny_checkpoint, "bf16", scales=(64, 96)).manifest
    assert (manifest.name, manifest.classes) == ("tiny", ["Platelets", "RBC", "WBC"])
    assert manifest.scales == (64, 96)
    assert manifest.default_scale == 96
    assert manifest.canvases_by_scale[64] == canvases_of_scale(64)
    assert manifest.source["sha256"] == sha256_of(tiny_checkpoint)
    (file,) = manifest.graphs
    assert (file.file, file.precision) == (tiny_checkpoint.name, "bf16")


def test_without_scales_the_training_scale_is_served(tiny_checkpoint: Path) -> None:
    assert opened(tiny_checkpoint).manifest.scales == (64,)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_precision_that_needs_a_graph_is_refused(tiny_checkpoint: Path, precision) -> None:
    with pytest.raises(
        InputError, match=f"precision {precision}: engine torch runs fp32, fp16, bf16"
    ):
        opened(tiny_checkpoint, precision)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not weights")
    with pytest.raises(InputError, match=r"notes\.txt"):
        opened(path)


def test_a_run_that_fails_is_a_session_error(tiny_checkpoint: Path) -> None:
    session = opened(tiny_checkpoint)
    with pytest.raises(SessionError, match="torch failed on a batch"):
        session.run(np.zeros((1, 33, 33, 3), np.uint8), np.array([[33, 33]]), 0.05, 0.5)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("norm", ["frozen", "trained"])
def test_folded_norms_change_nothing(backbone: str, norm: str) -> None:
    checkpoint = make_tiny_checkpoint(backbone=backbone, norm=norm, head_width=16)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    folded = fold_norms(checkpoint.build())
    assert not [name for name, _ in folded.named_buffers() if "running" in name]
    with torch.no_grad():
        for mine, theirs in zip(checkpoint.build()(x), folded(x), strict=True):
            for level, folded_level in zip(mine, theirs, strict=True):
                torch.testing.assert_close(folded_level, level, atol=1e-4, rtol=1e-4)


def test_group_norm_of_the_heads_is_left_alone(tmp_path: Path, images: np.ndarray) -> None:
    checkpoint = make_tiny_checkpoint(head_norm="group", head_width=64, class_gain=1.0)
    path = tmp_path / "group.pt"
    save_checkpoint(path, checkpoint)
    assert len(opened(path).run(images, SIZES, 0.05, 0.5)[0]) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # torch's own
def test_compiled_network_finds_the_same(
    tiny_checkpoint: Path, images: np.ndarray, expected: list[Detections]
) -> None:
    session = opened(tiny_checkpoint, compiled=True)
    assert differences(session, images, expected).beyond() is None


def test_compiler_that_does_not_work_is_said_at_once(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr("model.retinanet.RetinaNet.compile", lambda self, **_: None)
    monkeypatch.setattr("model.retinanet.RetinaNet.forward", broken)
    with pytest.raises(InputError, match=r"torch\.compile does not work here"):
        opened(tiny_checkpoint, compiled=True)
