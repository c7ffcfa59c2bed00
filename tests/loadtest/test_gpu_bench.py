"""The GPU's programme, all of it, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest import gpu_bench
from loadtest.gpu.report import page


@pytest.mark.slow
def test_all_of_it_runs_without_a_gpu(tmp_path: Path) -> None:
    assert gpu_bench.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    (written,) = tmp_path.glob("*.json")
    figures = json.loads(written.read_text())
    assert [(row["canvas"], row["batch"]) for row in figures["against_torchvision"]] == [
        ("64x96", 1),
        ("64x96", 2),
    ]
    assert [row["batch"] for row in figures["stages"]] == [1, 2]
    assert all(row["ms"]["copies"] > 0 for row in figures["stages"])
    assert figures["mlperf"][0]["images_per_s"] > 0
    (parity,) = figures["parity"]
    assert parity["detections"] > 0
    assert parity["past_its_bound"] is None
    assert [row["batch"] for row in figures["engines"]] == [1, 2]  # ONNX Runtime's
    assert [line.partition(":")[0] for line in figures["not_measured"]][-2:] == [
        "tensorrt, batch 1",
        "tensorrt, batch 2",
    ]
    text = written.with_suffix(".md").read_text()
    assert figures["command"] in text
    assert figures["hardware"]["cpu"] in text


def test_page_says_what_was_not_measured() -> None:
    figures = {
        "date": "2026-11-22",
        "hardware": {"gpu": "A GPU", "cpu": "A CPU", "driver": None},
        "command": "python -m loadtest.gpu_bench",
        "precision": "fp16",
        "peak_tflop_per_s": 700.0,
        "against_torchvision": [],
        "mlperf": [],
        "stages": [
            {
                "model": "resnet50", "canvas": "800x1344", "batch": 1, "precision": "fp16",
                "ms": {"trunk": 1.5, "heads": 1.0, "candidates": 0.2, "nms": 0.1, "copies": 0.3},
                "post_process_share": 0.107,
            }
        ],
        "engines": [],
        "parity": [],
        "not_measured": ["torchvision: not installed"],
    }  # fmt: skip
    text = page(figures)
    assert text.startswith("# A GPU, 2026-11-22\n\ngpu A GPU, cpu A CPU\n")
    assert (
        "| resnet50 | 800x1344 | 1 | fp16 | 1.500 | 1.000 | 0.200 | 0.100 | 0.300 | 10.7% |" in text
    )
    assert text.endswith("## Not measured\n\n* torchvision: not installed\n")
    assert text.count("Not measured.") == 4


def test_missing_gpu_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert gpu_bench.main(["--device", "gpu", "--out", str(tmp_path)]) == 2
    assert "accepted are cpu, cuda and cuda:N" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
