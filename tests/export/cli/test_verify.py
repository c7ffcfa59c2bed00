"""`retinaserve verify`, from the command line inwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import export.audit
import export.cli.verify
import export.graph_audit
import retinaserve
from export.figures import Figure
from export.graph_audit import GraphAudit
from export.inputs import drawn_pictures, placed
from export.manifest import Bundle, read_bundle
from model.letterbox import Canvas


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of `tiny_bundle`, to be written to."""
    return shutil.copytree(tiny_bundle.folder, tmp_path / "tiny")


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = Canvas(96, 128)
    batch = [placed(picture, 96, [canvas]) for picture in drawn_pictures(canvas, 2)]
    monkeypatch.setattr(export.audit, "comparison_batches", lambda *args: [batch])
    monkeypatch.setattr(export.graph_audit, "largest_batch_of", lambda flavour: 2)


def call(*arguments: object) -> int:
    return retinaserve.main(["verify", *map(str, arguments)])


@pytest.mark.usefixtures("few_pictures")
def test_verifies_shows_the_stages_and_writes_the_figures(
    folder: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    given = ["--against", tiny_checkpoint, "--precision", "fp32", "--json", out]
    assert call(folder, *given) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith("tiny-fp32.onnx (fp32) on onnxruntime-")
    assert lines[1] == "  2 pictures on 1 canvas, beside tiny.pt"
    first = [line.split()[:2] for line in lines[3:13]]
    assert first == [[what, f"P{level}"] for what in ("logits", "deltas") for level in range(3, 8)]
    assert [line.split()[0] for line in lines[14:16]] == ["candidates", "detections"]
    assert lines[-1] == "  within all bounds"
    assert said.err.startswith("tiny-fp32.onnx on onnxruntime-")
    parity = read_bundle(folder).manifest.graph_of("fp32").parity
    assert parity["images"] == 2
    assert parity["against"]["checkpoint"] == "tiny.pt"
    (graph,) = json.loads(out.read_text())["graphs"]
    assert (graph["file"], graph["passed"], graph["departs"]) == ("tiny-fp32.onnx", True, None)
    assert graph["report"] == {k: v for k, v in parity.items() if k in graph["report"]}


def test_figure_past_its_bound_is_told_and_the_manifest_stays(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    graphs = read_bundle(folder).manifest.graphs
    departing = GraphAudit(
        graphs[0],
        "onnxruntime-1",
        [
            Figure("logits P3", "worst_of_spread", 1e-6, 1e-3),
            Figure("deltas P4", "worst_of_spread", float("inf"), 1e-3),
            Figure("detections", "worst_box_px", 3, 0.05),
        ],
    )
    monkeypatch.setattr(export.cli.verify, "audit", lambda *args: [departing])
    before = (folder / "manifest.json").read_bytes()
    out = tmp_path / "figures.json"
    assert call(folder, "--json", out) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == (
        "  departs at the deltas P4: worst_of_spread of the deltas P4 is inf, the bound is 0.001"
    )
    assert said.err == (
        "retinaserve verify: tiny-fp32.onnx: worst_of_spread of the deltas P4 is inf, "
        "the bound is 0.001; manifest.json is as it was\n"
    )
    assert (folder / "manifest.json").read_bytes() == before
    (graph,) = json.loads(out.read_text())["graphs"]
    assert (graph["passed"], graph["departs"]) == (False, "deltas P4")
    assert graph["figures"][1] == {
        "stage": "deltas P4",
        "name": "worst_of_spread",
        "value": "inf",
        "bound": 0.001,
        "within": False,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--against", "absent.pt"], "absent.pt"),
        (["--data", "val.json"], "--data and --images go together"),
        (["--images", "."], "--data and --images go together"),
        (["--data", "absent.json", "--images", "."], "absent.json: no such annotation file"),
        (["--pictures", "absent"], "absent: not a folder of pictures"),
        (["--device", "cuda:0"], "--device cuda:0 goes with --engine"),
        (["--json", "absent/x.json"], "--json absent/x.json: the folder absent does not exist"),
        (["--engine", "tensorrt"], "engine tensorrt needs a GPU: give --device cuda:0"),
        (["--precision", "fp16"], "bundle 'tiny' has no fp16"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    folder: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert call(folder, *given) == 2
    error = capsys.readouterr().err
    assert error.startswith("retinaserve verify: ")
    assert said in error
    assert error.count("\n") == 1


def test_folder_without_a_bundle_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path) == 2
    assert f"{tmp_path}: no bundle here" in capsys.readouterr().err
