"""ImageNet weights of backbones: by path, and by name through torch hub's cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.backbones import registry
from model.backbones.registry import BACKBONES, build_backbone, load_backbone_weights
from model.errors import InputError


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


def test_weights_load_into_trained_norm_with_or_without_its_counter(
    weights: Path, tmp_path: Path
) -> None:
    given = torch.load(weights, weights_only=True)
    bare = {key: value for key, value in given.items() if not key.endswith("tracked")}
    torch.save(bare, tmp_path / "bare.pth")
    for path in (weights, tmp_path / "bare.pth"):
        backbone = build_backbone("mobilenet_v2", "trained")
        load_backbone_weights(backbone, path)
        state = backbone.state_dict()
        assert all(torch.equal(state[key], given[key]) for key in bare if key in state)


def named_by_hash(weights: Path, folder: Path) -> Path:
    """A copy whose name ends in the beginning of its SHA-256, as torchvision's files do."""
    content = weights.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mobile-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch hub; nothing can be fetched."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(registry, "_IMAGENET_URL", (tmp_path / "nowhere").as_uri())
    return tmp_path / "hub" / "checkpoints"


def name_imagenet_file(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    kind = BACKBONES["mobilenet_v2"]._replace(imagenet=file)
    monkeypatch.setitem(BACKBONES, "mobilenet_v2", kind)


def test_every_imagenet_file_is_torchvisions_v1() -> None:
    assert {name: kind.imagenet for name, kind in BACKBONES.items()} == {
        "mobilenet_v2": "mobilenet_v2-b0353104.pth",
        "resnet18": "resnet18-f37072fd.pth",
        "resnet34": "resnet34-b627a593.pth",
        "resnet50": "resnet50-0676ba61.pth",
        "resnet101": "resnet101-63fe2227.pth",
        "resnet152": "resnet152-394f9c45.pth",
        "resnext50_32x4d": "resnext50_32x4d-7cdf4587.pth",
        "resnext101_32x8d": "resnext101_32x8d-8ba56ff5.pth",
    }


def test_imagenet_weights_come_from_the_cache_without_a_network(
    weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_imagenet_file(monkeypatch, named_by_hash(weights, cache).name)
    backbone = build_backbone("mobilenet_v2")
    load_backbone_weights(backbone, "imagenet")
    given = torch.load(weights, weights_only=True)
    assert backbone.state_dict()["features.0.0.weight"].equal(given["features.0.0.weight"])


def test_imagenet_weights_are_fetched_once_into_the_cache(
    weights: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = named_by_hash(weights, tmp_path / "web")
    monkeypatch.setattr(registry, "_IMAGENET_URL", served.parent.as_uri())
    name_imagenet_file(monkeypatch, served.name)
    load_backbone_weights(build_backbone("mobilenet_v2"), "imagenet")
    served.unlink()
    load_backbone_weights(build_backbone("mobilenet_v2"), "imagenet")
    assert [path.name for path in cache.iterdir()] == [served.name]


def test_without_network_and_cache_both_ways_out_are_named(cache: Path) -> None:
    with pytest.raises(InputError, match=r"resnet18-f37072fd\.pth: can't be fetched") as caught:
        load_backbone_weights(build_backbone("resnet18"), "imagenet")
    assert f"put the file into {cache}, or give the path of one as backbone_weights" in str(
        caught.value
    )
    assert not list(cache.iterdir())


def test_fetched_file_with_another_hash_is_refused_and_not_kept(
    weights: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "mobilenet_v2-b0353104.pth").write_bytes(weights.read_bytes())
    monkeypatch.setattr(registry, "_IMAGENET_URL", (tmp_path / "web").as_uri())
    with pytest.raises(InputError, match=r"mobilenet_v2-b0353104\.pth: not the file.*b0353104"):
        load_backbone_weights(build_backbone("mobilenet_v2"), "imagenet")
    assert not list(cache.iterdir())


@pytest.mark.parametrize("source", ["path", "imagenet"])
def test_file_that_is_not_what_its_name_says_is_refused(
    weights: Path, cache: Path, source: str
) -> None:
    cache.mkdir(parents=True)
    damaged = cache / "mobilenet_v2-b0353104.pth"
    damaged.write_bytes(weights.read_bytes())
    with pytest.raises(InputError, match=r"mobilenet_v2-b0353104\.pth: not the file that its name"):
        load_backbone_weights(
            build_backbone("mobilenet_v2"), damaged if source == "path" else "imagenet"
        )
