"""`retinaserve bench`, on the smallest models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import retinaserve
from export.manifest import Bundle

ROOT = Path(__file__).parents[3]


def test_bench_times_every_scale_precision_and_batch(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    bundle = str(tiny_bundle.folder)
    arguments = ["--bundle", bundle, "--seconds", "0.01", "--batch", "1,2", "--json", str(out)]
    assert retinaserve.main(["bench", *arguments, "--plot", str(tmp_path / "bench.svg")]) == 0
    figures = json.loads(out.read_text())
    assert [(row["scale"], row["batch"], row["precision"]) for row in figures["rows"]] == [
        (scale, batch, precision)
        for scale in (64, 96)
        for batch in (1, 2)
        for precision in ("fp32", "int8")
    ]
    for row in figures["rows"]:
        assert row["rounds"] >= 5
        assert sum(row["stages"].values()) == pytest.approx(1.0, abs=0.001)
        assert row["memory_mb"] > 50  # what Python and ONNX Runtime take by themselves
    small, large = (
        next(row["gflop"] for row in figures["rows"] if row["scale"] == scale) for scale in (64, 96)
    )
    assert large > small > 0
    assert [(ratio["fast"], ratio["slow"]) for ratio in figures["ratios"]] == [
        ("onnxruntime fp32", "onnxruntime int8")
    ] * 4
    assert set(figures["peak_gflop_per_s"]) == {"fp32", "int8"}
    shown = capsys.readouterr().out
    assert figures["cpu"] in shown
    assert (tmp_path / "bench.svg").exists()


@pytest.mark.slow
def test_bench_of_a_bundle_needs_neither_torch_nor_onnx(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    # In the engines' processes as well: this file is run by every Python that starts.
    blocked = ("torch", "onnx", "onnxscript", "onnx_ir", "matplotlib")
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))"
    )
    done = subprocess.run(
        [sys.executable, "-m", "retinaserve", "bench", "--bundle", str(tiny_bundle.folder),
         "--scales", "64", "--seconds", "0.01"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tables = done.stdout.split("Medians")[0]
    assert "candidates+nms" in tables
    assert "trunk" not in tables
    assert "of peak" not in tables


@pytest.mark.slow
def test_bench_makes_an_architecture_and_compares_engines(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--arch", "mobilenet_v2", "--classes", "3", "--scales", "64", "--seconds", "0.01"]
    choice = ["--engines", "onnxruntime,torch,eager", "--precision", "int8,fp32"]
    assert retinaserve.main(["bench", *arguments, *choice, "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert [(row["engine"], row["precision"]) for row in figures["rows"]] == [
        ("onnxruntime", "int8"),
        ("onnxruntime", "fp32"),
        ("torch", "fp32"),
        ("eager", "fp32"),
    ]
    assert figures["left_out"] == ["torch int8: runs fp32, fp16, bf16", "eager int8: runs fp32"]
    found = [row["detections"] for row in figures["rows"][1:]]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scales", "7"], "--scales 7: the bundle's scales are 64, 96"),
        (["--scales", "x"], "--scales 'x': write whole numbers, comma separated"),
        (["--batch", "1,0"], "--batch 0: accepted are 1 to 256"),
        (["--seconds", "nan"], "--seconds nan: accepted are positive numbers"),
        (["--precision", "fp7"], "--precision fp7: accepted are fp32, fp16, bf16, int8, fp8"),
        (
            ["--device", "gpu"],
            "device 'gpu': accepted are cpu, cuda and cuda:N, for example cuda:0",
        ),
        (
            ["--precision", "fp16"],
            "nothing to measure: onnxruntime fp16: no such graph of flavour cpu; "
            "there are fp32, int8",
        ),
        (["--engines", ","], "--engines ',': write names, comma separated"),
        (["--classes", "3"], "--classes 3: accepted are numbers from 1, with --arch"),
    ],
)
def test_bad_argument_is_one_sentence(
    tiny_bundle: Bundle, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retinaserve.main(["bench", "--bundle", str(tiny_bundle.folder), *arguments]) == 2
    assert capsys.readouterr().err == f"retinaserve bench: {said}\n"


def test_unknown_architecture_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert retinaserve.main(["bench", "--arch", "resnet51"]) == 2
    assert capsys.readouterr().err == (
        "retinaserve bench: --arch resnet51: accepted are mobilenet_v2, resnet18, resnet34, "
        "resnet50, resnet101, resnet152, resnext50_32x4d, resnext101_32x8d\n"
    )
