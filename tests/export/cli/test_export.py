"""`retinaserve export`, from the command line inwards."""

from __future__ import annotations

from pathlib import Path

import pytest

import export.bundle
import retinaserve
from export.manifest import read_bundle
from export.verify import VerificationError


def call(*arguments: object) -> int:
    return retinaserve.main(["export", *map(str, arguments)])


@pytest.mark.usefixtures("ready_graphs")
def test_exports_verifies_and_says_the_figures(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    given = ["--canvases", "64x96", "--version", "1.2", "--name", "cells"]
    assert call(tiny_checkpoint, "--out", out, *given) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{out / 'cells-fp32.onnx'}: " in said.err
    assert " detections compared, 0.00% without counterpart, worst box " in said.err
    assert "replaced" not in said.err
    manifest = read_bundle(out).manifest
    assert (manifest.name, manifest.version) == ("cells", "1.2")
    assert manifest.canvases == {64: ["64x96"]}
    assert manifest.source["checkpoint"] == "tiny.pt"
    parity = manifest.graph_of().parity
    # Even one canvas sees a batch: two drawn scenes and noise.
    assert (parity["images"], parity["batches"]) == (3, 1)


@pytest.mark.usefixtures("ready_graphs")
def test_training_scale_and_recipes_name_are_the_defaults(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.bundle, "verify", lambda *args: FIGURES)
    assert call(tiny_checkpoint, "--out", tmp_path / "bundle") == 0
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert manifest.name == "tiny"
    assert manifest.canvases == {64: ["64x128", "64x96", "64x64", "128x64", "96x64"]}


@pytest.mark.usefixtures("ready_graphs")
def test_bundle_that_was_there_is_named(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export.bundle, "verify", lambda *args: FIGURES)
    for version in ("1", "2"):
        given = ["--canvases", "64x96", "--version", version]
        assert call(tiny_checkpoint, "--out", tmp_path / "bundle", *given) == 0
    assert f"replaced tiny 1 (tiny-fp32.onnx) in {tmp_path / 'bundle'}\n" in capsys.readouterr().err


FIGURES = {"detections": 1, "unmatched_share": 0.0, "worst_box_px": 0.0, "worst_score": 0.0}


@pytest.mark.usefixtures("ready_graphs")
def test_several_scales_and_precisions_go_into_one_bundle(
    tiny_checkpoint: Path, small_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.bundle, "verify", lambda *args: FIGURES)
    given = ["--scales", "64, 96", "--canvases", "64x96,96x96", "--default-scale", "64"]
    given += ["--precision", "int8,fp32", "--calibration", str(small_scenes / "images")]
    assert call(tiny_checkpoint, "--out", tmp_path / "bundle", *given) == 0
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert (manifest.scales, manifest.default_scale) == ((64, 96), 64)
    assert [graph.file for graph in manifest.graphs] == ["tiny-int8.onnx", "tiny-fp32.onnx"]


@pytest.mark.usefixtures("ready_graphs")
def test_departing_graph_is_not_written_and_exits_1(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def depart(*args: object) -> None:
        raise VerificationError("worst_box_px is 3, the bound is 0.05")

    monkeypatch.setattr(export.bundle, "verify", depart)
    assert call(tiny_checkpoint, "--out", tmp_path / "bundle") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "retinaserve export: not written: worst_box_px is 3, the bound is 0.05"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--scales", "320;480"], "--scales '320;480': write whole pixels, comma separated"),
        (["--scales", "0"], "--scales '0': write whole pixels"),
        (["--canvases", "480"], "canvas '480': write HEIGHTxWIDTH"),
        (["--canvases", "480x650"], "canvas 480x650: sides must be multiples of 32"),
        (["--scales", "96", "--canvases", "64x96"], "canvas 64x96 is smaller than every scale"),
        (["--default-scale", "65"], "default_scale 65 is not one of [64]"),
        (["--precision", "fp8"], "precision 'fp8': accepted are fp32, fp16, int8"),
        (["--flavour", "gpu"], "flavour 'gpu': accepted are cpu, tensor"),
        (["--precision", "int8"], "int8 needs --calibration DIR"),
        (["--calibration", "absent"], "absent: not a folder of pictures"),
        (["--data", "val.json"], "--data and --images go together"),
        (["--data", "absent.json", "--images", "."], "absent.json: no such annotation file"),
        (["--name", "a b"], "name: String should match pattern"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    said: str,
) -> None:
    assert call(tiny_checkpoint, "--out", tmp_path / "bundle", *given) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"retinaserve export: {said}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"])
def test_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "x.pt"
    if content is not None:
        path.write_bytes(content)
    assert call(path, "--out", tmp_path / "bundle") == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "bundle").exists()
