"""`retinaserve evaluate` on each of its three subjects."""

from __future__ import annotations

import json
import shutil
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
    said = capsys.readouterr().out
    assert said.startswith(f"AP {metrics['AP']:.4f}  AP50 ")
    assert f"  RBC: AP {metrics['classes']['RBC']['AP']:.4f}  AP50 " in said


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
    assert "has no fp16 graph; it holds fp32, int8" in capsys.readouterr().err


class Server(BaseHTTPRequestHandler):
    """Finds one platelet in everything."""

    def do_POST(self) -> None:
        assert self.path == "/v1/detect?max_detections=100"
        self.rfile.read(int(self.headers["content-length"]))
        row = {"box": [1, 2, 30, 40], "score": 0.5, "label": "Platelets"}
        body = json.dumps({"detections": [row]}).encode()
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
    assert capsys.readouterr().out.startswith("AP 0.0")


def test_server_that_is_not_there_is_one_sentence(
    labels: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("http://127.0.0.1:1", *labels) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("retinaserve evaluate: http://127.0.0.1:1 does not answer")


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
