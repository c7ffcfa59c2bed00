"""`retinaserve import`: from a weights file to a checkpoint, and on to a bundle."""

from __future__ import annotations

import argparse
import hashlib
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from export.cli import export
from export.manifest import read_bundle
from export.plain_session import session_of
from model.checkpoint import load_checkpoint
from model.cli import import_weights
from model.errors import InputError
from tests.model.interop import plain_detectron2, plain_torchvision
from tests.model.interop.plain import CANVAS, Found, State, blocks_and_noise, without_twin

MSRA = plain_detectron2.MSRA


def run(module: ModuleType, *arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    module.configure(parser)
    code: int = module.run(parser.parse_args([str(argument) for argument in arguments]))
    return code


@pytest.fixture(scope="module")
def v1() -> State:
    return plain_torchvision.random_state(1)


@pytest.fixture
def weights(tmp_path: Path, v1: State) -> Path:
    torch.save(v1, tmp_path / "weights v1.pth")
    return tmp_path / "weights v1.pth"


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("__background__\ncat\nN/A\n")
    return path


def test_checkpoint_says_where_it_came_from(
    tmp_path: Path, weights: Path, names: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "coco.pt"
    code = run(
        import_weights, "--from", "torchvision_v1", weights, "--classes", names, "--out", out
    )
    assert code == 0
    checkpoint = load_checkpoint(out)
    assert checkpoint.classes == ("__background__", "cat", "N/A")
    assert checkpoint.recipe == {
        "name": "weights-v1",
        "train": {"scale": 800},
        "imported": {
            "from": "torchvision_v1",
            "file": "weights v1.pth",
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        },
    }
    said = capsys.readouterr()
    assert said.out == f"{out}: resnet18, 3 classes\n"
    assert "note: batch norm has eps 0" in said.err
    assert "multiples of 128" in said.err


def test_repeated_names_are_told(
    tmp_path: Path, weights: Path, names: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names.write_text("N/A\ncat\nN/A\n")
    out = tmp_path / "coco.pt"
    run(import_weights, "--from", "torchvision_v1", weights, "--classes", names, "--out", out)
    assert load_checkpoint(out).classes == ("N/A", "cat", "N/A 2")
    said = capsys.readouterr().err
    assert "note: names that come more than once got a number: N/A 2\n" in said


def test_eps_is_taken_as_told(tmp_path: Path, weights: Path, names: Path) -> None:
    out = tmp_path / "coco.pt"
    options = ("--classes", names, "--out", out, "--norm-eps", "1e-5")
    run(import_weights, "--from", "torchvision_v1", weights, *options)
    assert load_checkpoint(out).architecture.norm_eps == 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "torchvision_v2"), r"no 'head\.classification_head\.conv\.0\.1\.weight'"),
        (("--from", "detectron2"), r"no 'backbone\.fpn_lateral3\.bias'"),
        (("--from", "torchvision_v1", "--norm-eps", "-1"), "norm_eps -1.0: accepted are"),
        (("--from", "torchvision_v1", "--pretrained", "msra"), "--pretrained msra: goes with"),
    ],
)
def test_bad_input_leaves_no_file(
    tmp_path: Path, weights: Path, names: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message):
        run(import_weights, weights, *arguments, "--classes", names, "--out", tmp_path / "coco.pt")
    assert sorted(tmp_path.iterdir()) == before


def test_wrong_number_of_names_says_the_heads(tmp_path: Path, weights: Path, names: Path) -> None:
    names.write_text("cat\ndog\n")
    out = tmp_path / "coco.pt"
    with pytest.raises(InputError, match=r"classes\.txt: 2 names, but the head has 3 classes"):
        run(import_weights, "--from", "torchvision_v1", weights, "--classes", names, "--out", out)
    assert not out.exists()


def test_what_is_there_is_kept(tmp_path: Path, weights: Path, names: Path) -> None:
    out = tmp_path / "coco.pt"
    out.write_text("mine")
    with pytest.raises(InputError, match=r"--out .*coco\.pt is there already"):
        run(import_weights, "--from", "torchvision_v1", weights, "--classes", names, "--out", out)
    assert out.read_text() == "mine"


def of_torchvision(path: Path, *, v2: bool) -> Found:
    state = plain_torchvision.random_state(6, v2=v2)
    torch.save(state, path)
    return plain_torchvision.detect(state, blocks_and_noise(), eps=1e-5 if v2 else 0.0)


def of_detectron2(path: Path) -> Found:
    state = plain_detectron2.random_state(6, MSRA)
    path.write_bytes(pickle.dumps({"model": {key: v.numpy() for key, v in state.items()}}))
    return plain_detectron2.detect(state, blocks_and_noise(), MSRA, clip_first=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "file", "detections_of_source"),
    [
        ("torchvision_v1", "v1.pth", partial(of_torchvision, v2=False)),
        ("torchvision_v2", "v2.pth", partial(of_torchvision, v2=True)),
        ("detectron2", "zoo.pkl", of_detectron2),
    ],
    ids=["torchvision_v1", "torchvision_v2", "detectron2"],
)
def test_bundle_detects_as_the_source_does(
    tmp_path: Path,
    names: Path,
    source: str,
    file: str,
    detections_of_source: Callable[[Path], Found],
) -> None:
    expected = detections_of_source(tmp_path / file)
    checkpoint, bundle = tmp_path / "imported.pt", tmp_path / "bundle"
    options = ("--classes", names, "--out", checkpoint)
    assert run(import_weights, "--from", source, tmp_path / file, *options) == 0
    canvas = f"{CANVAS[0]}x{CANVAS[1]}"
    assert run(export, checkpoint, "--out", bundle, "--canvases", canvas) == 0
    read = read_bundle(bundle)
    assert read.manifest.source["recipe"]["imported"]["from"] == source
    session = session_of(read.graph_path(read.manifest.graphs[0]).read_bytes())
    image = blocks_and_noise()
    images = np.zeros((1, *CANVAS, 3), np.uint8)
    images[0, : image.shape[0], : image.shape[1]] = image
    sizes = np.array([image.shape[:2]])
    count, *rows = session.run(None, {"images": images, "image_sizes": sizes})
    found = Found(*(part[0, : count[0]] for part in rows))
    assert len(expected.scores) > 20
    assert abs(len(found.scores) - len(expected.scores)) <= 1
    assert without_twin(expected, found) <= 1
    assert without_twin(found, expected) <= 1
