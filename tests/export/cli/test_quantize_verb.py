"""`retinaserve quantize` on the tiny bundle."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import onnx
import pytest

from export.cli import quantize as verb
from export.keep_in_float import Search, Step
from export.manifest import Bundle, BundleError, read_bundle, write_manifest
from export.sensitivity import Change
from model.errors import InputError


@pytest.fixture
def own_bundle(tiny_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy of `tiny_bundle`."""
    return read_bundle(shutil.copytree(tiny_bundle.folder, tmp_path / "own"))


def quantize(folder: Path, pictures: Path, *options: str) -> int:
    """The verb itself, whose InputError the command would print."""
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    few = ("--calibration", str(pictures), "--pictures", "3", "--probe", "1")
    return verb.run(parser.parse_args([str(folder), *few, *options]))


@pytest.mark.slow
def test_bundle_gets_the_graph_and_the_report(
    own_bundle: Bundle, small_scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    pictures = small_scenes / "images"
    options = ("--max-ap-drop", "1", "--out", str(out), "--json", str(report))
    assert quantize(own_bundle.folder, pictures, *options) == 0
    said = capsys.readouterr()
    assert "class_head.tower.0" in said.out
    assert "the fp32 graph's own detections above 0.3" in said.err
    found = json.loads(report.read_text())
    shares = [group["work_share"] for group in found["groups"]]
    assert 0.5 < sum(shares) < 1
    assert 0.1 < sum(group["time_share"] for group in found["groups"]) < 1
    assert found["steps"][0]["in_float"] == []
    assert found["fp32_AP"] == 1.0

    bundle = read_bundle(out)
    assert [graph.precision for graph in bundle.manifest.graphs] == ["fp32", "int8"]
    graph = bundle.manifest.graph_of("int8")
    assert graph.parity["in_float"] == []
    assert graph.parity["AP_drop"] == found["steps"][0]["AP_drop"]
    old = own_bundle.manifest.graph_of("int8")
    assert graph.sha256 != old.sha256  # of other pictures
    model = onnx.load(bundle.graph_path(graph))
    bundle.manifest.check_facts({p.key: p.value for p in model.metadata_props}, graph)


@pytest.mark.slow
def test_drop_that_cannot_be_held_writes_nothing_and_exits_1(
    own_bundle: Bundle,
    small_scenes: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = Search([Step(("fpn.smooth",), Change(0.1, 0.1, 0.2), 0.8)], None)
    monkeypatch.setattr("export.quantize_bundle.search", lambda *_: lost)
    before = own_bundle.manifest
    assert quantize(own_bundle.folder, small_scenes / "images") == 1
    assert "still drops by 0.8000; accepted is 0.005" in capsys.readouterr().err
    assert read_bundle(own_bundle.folder).manifest == before


def test_bundle_without_an_fp32_graph_is_bad_input(own_bundle: Bundle, small_scenes: Path) -> None:
    manifest = own_bundle.manifest
    only = manifest.model_copy(update={"graphs": [manifest.graph_of("int8")]})
    write_manifest(own_bundle.folder, only)
    with pytest.raises(BundleError, match=r"no fp32 cpu graph.*quantization starts from it"):
        quantize(own_bundle.folder, small_scenes / "images")


def test_bundle_without_a_tensor_graph_is_bad_input(
    tiny_bundle: Bundle, small_scenes: Path
) -> None:
    with pytest.raises(BundleError, match=r"no fp32 tensor graph.*quantization starts from it"):
        quantize(tiny_bundle.folder, small_scenes / "images", "--flavour", "tensor")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--precision", "fp8"], "only with --flavour tensor"),
        (["--max-ap-drop", "2"], "accepted are 0 to 1"),
        (["--pictures", "0"], "accepted are whole numbers from 1"),
        (["--data", "val.json"], "--data and --images go together"),
    ],
)
def test_bad_option_is_bad_input(tmp_path: Path, options: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        quantize(tmp_path, tmp_path, *options)


def test_checkpoint_needs_a_folder_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the bundle's folder with --out"):
        quantize(tmp_path / "best.pt", tmp_path)
