"""`retinaserve evaluate` on each of its three subjects."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import retinaserve
from export.manifest import Bundle, write_manifest


@pytest.fixture
def labels(small_scenes: Path) -> list[str]:
    return [
        "--data",
        str(small_scenes / "annotations.json"),
        "--images",
        str(small_scenes / "images"),
    ]


def call(*arguments: object) -> int:
    return retinaserve.main(["evaluate", *map(str, arguments)])


def test_checkpoint(
    tiny_checkpoint: Path, labels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "metrics.json"
    assert call(tiny_checkpoint, *labels, "--json", out) == 0
    metrics = json.loads(out.read_text())
    assert 0.0 <= metrics["AP"] <= 0.1  # untrained
    assert set(metrics["classes"]) == {"Platelets", "RBC", "WBC"}
    assert metrics["subject"] == {
        "subject": str(tiny_checkpoint),
        "kind": "checkpoint",
        "step": "7",
        "scale": "64",
        "data": labels[1],
    }
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[0][::2] == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert said[1][::2] == ["AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    assert said[0][1] == f"{metrics['AP']:.4f}"
    rbc = metrics["classes"]["RBC"]
    assert said[3][:4] == ["boxes", "AP", "AP50", "AR100"]
    assert said[5][:3] == ["RBC", str(rbc["boxes"]), f"{rbc['AP']:.4f}"]


def test_bundle_and_checkpoint_agree(
    tiny_checkpoint: Path, tiny_bundle: Bundle, labels: list[str], tmp_path: Path
) -> None:
    """At scale 96 both put a picture of 96x128 on the same canvas."""
    found = []
    for subject in (tiny_checkpoint, tiny_bundle.folder):
        out = tmp_path / "metrics.json"
        assert call(subject, *labels, "--scale", 96, "--json", out) == 0
        found.append(json.loads(out.read_text()))
    by_checkpoint, by_bundle = found
    assert by_bundle["AP50"] == pytest.approx(by_checkpoint["AP50"], abs=1e-3)
    assert by_bundle["AR100"] == pytest.approx(by_checkpoint["AR100"], abs=1e-3)
    assert by_bundle["AR100"] > 0


def test_each_precision_of_a_bundle(
    tiny_bundle: Bundle, labels: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for precision in ("fp32", "int8"):
        assert call(tiny_bundle.folder, *labels, "--precision", precision) == 0
    assert call(tiny_bundle.folder, *labels, "--precision", "fp16") == 2
    said = capsys.readouterr().err
    assert "has no fp16 cpu graph; it holds fp32 cpu, int8 cpu" in said


class Server(BaseHTTPRequestHandler):
    """Finds one platelet in everything."""

    def do_GET(self) -> None:
        assert self.path == "/v1/models"
        classes = ["Platelets", "RBC", "WBC"]
        self.answer({"models": [{"name": "m", "classes": classes, "default_scale": 64}]})

    def do_POST(self) -> None:
        assert self.path == "/v1/detect?max_detections=100"
        self.rfile.read(int(self.headers["content-length"]))
        row = {"box": [1, 2, 30, 40], "score": 0.5, "label": "Platelets"}
        self.answer({"detections": [row]})

    def answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_server(url: str, labels: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(url, *labels) == 0
    assert capsys.readouterr().out.startswith("AP    0.0")


def test_server_that_is_not_there_is_one_sentence(
    labels: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("http://127.0.0.1:1", *labels) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("retinaserve evaluate: http://127.0.0.1:1 does not answer")


def test_device_that_is_not_there_is_refused(
    tiny_checkpoint: Path, labels: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tiny_checkpoint, *labels, "--device", "cuda:99") == 2
    assert capsys.readouterr().err.startswith("retinaserve evaluate: device 'cuda:99': accepted")


def test_report_shows_what_was_asked_for(
    tiny_bundle: Bundle, labels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    options = ["--report", out, "--worst", 2, "--score-threshold", 0.25]
    assert call(tiny_bundle.folder, *labels, *options) == 0
    assert f"report: {out / 'index.html'}" in capsys.readouterr().out
    assert json.loads((out / "metrics.json").read_text())["all"]["threshold"] == 0.25
    assert len(list((out / "worst").iterdir())) == 2


def test_folder_that_holds_other_things_is_refused_before_the_work(
    labels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.docx").touch()
    assert call("absent.pt", *labels, "--report", tmp_path) == 2
    assert "holds thesis.docx" in capsys.readouterr().err


def test_missing_matplotlib_is_told_before_the_work(
    labels: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "model.evaluation.plots", raising=False)
    monkeypatch.delitem(sys.modules, "model.evaluation.report", raising=False)
    assert call("absent.pt", *labels, "--report", tmp_path / "report") == 2
    assert "needs matplotlib, which is not installed: pip install" in capsys.readouterr().err


def relabelled(folder: Path, names: list[str], boxes: bool = True) -> list[str]:
    """The labels of a data set with other class names, or without its boxes."""
    coco = json.loads((folder / "annotations.json").read_text())
    for category, name in zip(coco["categories"], names, strict=True):
        category["name"] = name
    coco["annotations"] = coco["annotations"] if boxes else []
    return [json.dumps(coco), str(folder / "images")]


def test_classes_that_the_subject_does_not_know_are_named(
    tiny_checkpoint: Path,
    small_scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text, images = relabelled(small_scenes, ["cat", "RBC", "dog"])
    (tmp_path / "pets.json").write_text(text)
    assert call(tiny_checkpoint, "--data", tmp_path / "pets.json", "--images", images) == 2
    said = capsys.readouterr().err
    assert "pets.json labels cat, dog, which" in said
    assert "does not know; its classes are Platelets, RBC, WBC" in said


def test_data_without_boxes_are_refused(
    tiny_checkpoint: Path,
    small_scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text, images = relabelled(small_scenes, ["Platelets", "RBC", "WBC"], boxes=False)
    (tmp_path / "empty.json").write_text(text)
    assert call(tiny_checkpoint, "--data", tmp_path / "empty.json", "--images", images) == 2
    assert "empty.json: no box to compare detections with" in capsys.readouterr().err


def test_classes_that_the_data_lack_are_not_measured(
    tiny_checkpoint: Path,
    small_scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    coco = json.loads((small_scenes / "annotations.json").read_text())
    coco["categories"] = coco["categories"][1:]
    coco["annotations"] = [note for note in coco["annotations"] if note["category_id"] != 1]
    (tmp_path / "two.json").write_text(json.dumps(coco))
    out = tmp_path / "metrics.json"
    given = ["--data", tmp_path / "two.json", "--images", small_scenes / "images", "--json", out]
    assert call(tiny_checkpoint, *given) == 0
    assert "not measured, not in the data: Platelets" in capsys.readouterr().err
    metrics = json.loads(out.read_text())
    assert list(metrics["classes"]) == ["RBC", "WBC"]
    assert metrics["confusion"]["found as"] == ["RBC", "WBC", "missed"]


def test_picture_that_can_not_be_read_is_named(
    tiny_checkpoint: Path,
    small_scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(small_scenes / "images", tmp_path / "images")
    (tmp_path / "images" / "drawn_00003.jpg").write_bytes(b"no picture")
    given = ["--data", small_scenes / "annotations.json", "--images", tmp_path / "images"]
    assert call(tiny_checkpoint, *given) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "drawn_00003.jpg: not a picture that can be decoded" in last


def test_bundle_of_two_exports_is_refused(
    tiny_bundle: Bundle, labels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(tiny_bundle.folder, folder)
    write_manifest(folder, tiny_bundle.manifest.model_copy(update={"mean": (0.0, 0.0, 0.0)}))
    assert call(folder, *labels) == 2
    assert "tiny-fp32.onnx and manifest.json disagree on mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("subject", "given", "said"),
    [
        ("absent.pt", [], "absent.pt: no such weights file"),
        (".", [], ".: no bundle here"),
        ("bundle", ["--scale", "77"], "scale 77: the bundle serves 64, 96"),
        ("bundle", ["--json", "no/where/x.json"], "--json no/where/x.json: the folder no/where"),
        ("bundle", ["--data", "absent.json"], "absent.json: no such annotation file"),
        ("bundle", ["--worst", "-1"], "--worst -1: accepted are whole numbers from 0"),
        ("bundle", ["--score-threshold", "1"], "--score-threshold 1.0: accepted are 0 to below 1"),
        ("bundle", ["--names", "val.txt"], "--names goes with a folder of VOC files"),
        ("bundle", ["--device", "cuda"], "--device cuda goes with a checkpoint, not with a bundle"),
        ("http://[::1]:1", ["--device", "cpu"], "--device cpu goes with a checkpoint, not with a"),
        ("best.pt", ["--precision", "int8"], "--precision int8 goes with a bundle, not with a"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    tiny_bundle: Bundle,
    labels: list[str],
    capsys: pytest.CaptureFixture[str],
    subject: str,
    given: list[str],
    said: str,
) -> None:
    assert call(tiny_bundle.folder if subject == "bundle" else subject, *labels, *given) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"retinaserve evaluate: {said}")
    assert error.count("\n") == 1
