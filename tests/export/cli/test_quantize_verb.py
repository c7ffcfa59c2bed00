"""`retinaserve quantize` on the tiny bundle."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import onnx
import pytest
from PIL import Image

from export.cli import quantize as verb
from export.figures import Figure
from export.graph_audit import GraphAudit, Opened
from export.keep_in_float import Search, Step
from export.lint import faults_of
from export.manifest import Bundle, BundleError, read_bundle, write_manifest
from export.sensitivity import Change
from model.errors import InputError
from model.files import sha256_of


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
    assert "labels: the fp32 graph's own detections above 0.3): fp32 1.0000" in said.out
    assert "verifying tiny-int8.onnx beside tiny-fp32.onnx" in said.err
    found = json.loads(report.read_text())
    shares = [group["work_share"] for group in found["groups"]]
    assert 0.5 < sum(shares) < 1
    assert 0.1 < sum(group["time_share"] for group in found["groups"]) < 1
    assert found["steps"][0]["in_float"] == []
    assert found["fp32_AP"] == 1.0

    bundle = read_bundle(out)
    assert [graph.precision for graph in bundle.manifest.graphs] == ["fp32", "int8"]
    graph = bundle.manifest.graph_of("int8")
    assert graph.parity["quantization"]["in_float"] == []
    assert graph.parity["quantization"]["AP_drop"] == found["steps"][0]["AP_drop"]
    assert graph.parity["beside"]["graph"] == "tiny-fp32.onnx"
    assert graph.parity["beside"]["alone_worst_box_px"] < 1e-3
    assert len(graph.golden) == 2
    old = own_bundle.manifest.graph_of("int8")
    assert graph.sha256 != old.sha256  # of other pictures
    model = onnx.load(bundle.graph_path(graph))
    bundle.manifest.check_facts({p.key: p.value for p in model.metadata_props}, graph)
    assert faults_of(model, "cpu", "int8") == []


@pytest.mark.slow
def test_checkpoint_becomes_a_bundle_beside_it_for_gpus_too(
    tiny_checkpoint: Path, small_scenes: Path, tmp_path: Path
) -> None:
    own = shutil.copy(tiny_checkpoint, tmp_path / "best.pt")
    labels = ("--data", str(small_scenes / "annotations.json"))
    data = (*labels, "--images", str(small_scenes / "images"), "--max-ap-drop", "1")
    assert quantize(own, small_scenes / "images", *data, "--flavour", "tensor") == 0
    bundle = read_bundle(tmp_path / "best-int8")
    assert [(graph.precision, graph.flavour) for graph in bundle.manifest.graphs] == [
        ("int8", "tensor"), ("fp32", "cpu"), ("fp32", "tensor"),
    ]  # fmt: skip
    graph = bundle.manifest.graphs[0]
    assert graph.parity["against"] == {"checkpoint": "best.pt", "sha256": sha256_of(own)}
    assert graph.parity["matched_share"] > 0.25
    assert graph.parity["quantization"]["labels"].endswith("annotations.json")
    assert faults_of(onnx.load(bundle.graph_path(graph)), "tensor", "int8") == []


@pytest.mark.slow
def test_graph_that_departs_is_not_written(
    own_bundle: Bundle,
    small_scenes: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def departing(opened: Opened, *_: object) -> GraphAudit:
        figure = Figure("logits P4", "mean_of_spread", 0.9, 0.3)
        return GraphAudit(opened.graph, "onnxruntime", [figure])

    monkeypatch.setattr("export.quantize_bundle.audited", departing)
    before = own_bundle.manifest
    assert quantize(own_bundle.folder, small_scenes / "images", "--max-ap-drop", "1") == 1
    assert capsys.readouterr().err.endswith(
        "retinaserve quantize: not written: tiny-int8.onnx beside tiny-fp32.onnx: "
        "mean_of_spread of the logits P4 is 0.9, the bound is 0.3\n"
    )
    assert read_bundle(own_bundle.folder).manifest == before


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
    said = capsys.readouterr()
    assert "0.2000 (-0.8000) with " in said.out
    assert said.out.endswith("; in float fpn.smooth\naccepted is a drop of 0.005: not held\n")
    assert said.err.endswith("not written: no choice of groups keeps the AP\n")
    assert read_bundle(own_bundle.folder).manifest == before


def test_pictures_in_which_nothing_is_found_are_bad_input(
    own_bundle: Bundle, tmp_path: Path
) -> None:
    """Without labels there would be no AP, and any loss would pass."""
    Image.new("RGB", (128, 96)).save(tmp_path / "black.png")
    with pytest.raises(InputError, match=r"finds nothing above 0\.3 .* give --data and --images"):
        quantize(own_bundle.folder, tmp_path)


def test_foreign_folder_is_refused_before_the_work(
    own_bundle: Bundle, small_scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not empty and holds no bundle"):
        quantize(own_bundle.folder, small_scenes / "images", "--out", str(tmp_path / "thesis"))
    assert capsys.readouterr().err == ""


def test_bundle_without_an_fp32_graph_is_bad_input(own_bundle: Bundle, small_scenes: Path) -> None:
    manifest = own_bundle.manifest
    only = manifest.model_copy(update={"graphs": [manifest.graph_of("int8")]})
    write_manifest(own_bundle.folder, only)
    own_bundle.graph_path(manifest.graph_of("fp32")).unlink()
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
        (["--json", "absent/x.json"], "the folder absent does not exist"),
    ],
)
def test_bad_option_is_bad_input(tmp_path: Path, options: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        quantize(tmp_path, tmp_path, *options)
