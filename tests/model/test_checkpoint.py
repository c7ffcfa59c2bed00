"""Checkpoints: whole or not at all, and refused when they do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.errors import InputError
from model.geometry import AnchorSpec
from model.retinanet import Architecture, RetinaNet

SPEC = AnchorSpec(scales=(1.0,), offset=0.0)
TINY = Architecture(2, "mobilenet_v2", head_width=8, head_depth=0, anchors=SPEC)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return RetinaNet(TINY).state_dict()


def checkpoint_of(state: dict[str, torch.Tensor], step: int = 5) -> Checkpoint:
    return Checkpoint(
        TINY,
        ("cat", "dog"),
        state,
        {"train": {"scale": 64}},
        step,
        {"val": {"AP": 0.5, "APs": None}},
    )


def test_checkpoint_comes_back_as_it_was(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint_of(state))
    found = load_checkpoint(tmp_path / "a.pt")
    assert found.architecture == TINY
    assert found.classes == ("cat", "dog")
    assert found.recipe == {"train": {"scale": 64}}
    assert (found.step, found.metrics) == (5, {"val": {"AP": 0.5, "APs": None}})
    assert found.mean == (0.485, 0.456, 0.406)
    built = found.build()
    assert not built.training
    assert all(torch.equal(value, state[key]) for key, value in built.state_dict().items())


def test_nothing_but_the_checkpoint_is_left_in_the_folder(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint_of(state))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_interrupted_write_leaves_the_old_checkpoint(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint_of(state, step=1))

    def cut_off(raw: Any, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, checkpoint_of(state, step=2))
    monkeypatch.undo()
    assert load_checkpoint(path).step == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    checkpoint = checkpoint_of(state)
    checkpoint.architecture = Architecture(2, "mobilenet_v2", 16, 0, anchors=SPEC)
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    with pytest.raises(InputError, match=r"a\.pt: box_head.* of another architecture"):
        load_checkpoint(tmp_path / "a.pt")


def test_missing_weight_is_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    part = {key: value for key, value in state.items() if key != "fpn.p6.bias"}
    save_checkpoint(tmp_path / "a.pt", checkpoint_of(part))
    with pytest.raises(InputError, match=r"fpn\.p6\.bias does not fit mobilenet_v2 with 2 classes"):
        load_checkpoint(tmp_path / "a.pt")


def test_class_names_must_be_as_many_as_the_classes(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    checkpoint = checkpoint_of(state)
    checkpoint.classes = ("cat",)
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    with pytest.raises(InputError, match="1 class names for 2 classes"):
        load_checkpoint(tmp_path / "a.pt")


def test_checkpoint_from_before_the_newer_fields_has_the_papers(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint_of(state))
    raw = torch.load(tmp_path / "a.pt", weights_only=True)
    for name in ("norm", "norm_eps", "stride_in_1x1", "head_norm", "p6_from"):
        del raw["architecture"][name]
    torch.save(raw, tmp_path / "old.pt")
    found = load_checkpoint(tmp_path / "old.pt").architecture
    assert (found.norm, found.norm_eps, found.stride_in_1x1) == ("frozen", 1e-5, False)
    assert (found.head_norm, found.p6_from) == ("none", "c5")


def test_every_architecture_comes_back_as_it_was(tmp_path: Path) -> None:
    other = Architecture(
        2,
        "resnet50",
        head_width=64,
        head_depth=1,
        norm="trained",
        norm_eps=1e-3,
        stride_in_1x1=True,
        head_norm="group",
        p6_from="p5",
    )
    state = RetinaNet(other).state_dict()
    counter = "backbone.bn1.num_batches_tracked"
    state[counter] = torch.tensor(7)
    save_checkpoint(tmp_path / "a.pt", Checkpoint(other, ("cat", "dog"), state))
    found = load_checkpoint(tmp_path / "a.pt")
    assert found.architecture == other
    assert found.build().state_dict()[counter] == 7


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"norm": "trained"}, r"backbone\.features\.0\.1\.num_batches_tracked"),
        ({"p6_from": "p5"}, r"fpn\.p6\.weight"),
        ({"head_norm": "group"}, r"box_head\.tower\.0\.bias"),
    ],
)
def test_weights_that_another_field_speaks_of_are_refused(
    tmp_path: Path, change: dict[str, Any], key: str
) -> None:
    ours = Architecture(2, "mobilenet_v2", head_width=64, head_depth=1)
    checkpoint = Checkpoint(ours, ("cat", "dog"), RetinaNet(ours).state_dict())
    checkpoint.architecture = replace(ours, **change)
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    with pytest.raises(InputError, match=rf"a\.pt: {key} does not fit"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features.0.0.weight": 1}, "not a checkpoint of this version"),
        ([1, 2], "not a checkpoint of this version"),
        ({"retinaserve_checkpoint": 99}, "format 99, accepted is 1"),
        ({"retinaserve_checkpoint": 1}, "a damaged checkpoint"),
    ],
)
def test_torch_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt: .*" + message):
        load_checkpoint(tmp_path / "other.pt")


def test_file_that_is_not_torchs_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"\x89PNG, not torch")
    with pytest.raises(InputError, match=r"a\.pt: not a weights file: accepted is") as caught:
        load_checkpoint(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


class Evil:
    """Would make a folder when unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.mkdir, (self.folder,))


def test_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"retinaserve_checkpoint": Evil(tmp_path / "made")}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt: not a weights file"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "made").exists()


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt: no such weights file"):
        load_checkpoint(tmp_path / "none.pt")
