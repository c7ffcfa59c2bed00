"""`retinaserve bench`: the table's arithmetic and its bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import retinaserve
from export.manifest import read_bundle
from service.cli.graph_profile import share_off_the_maps
from service.cli.timing import Spread, prepare


def node(name: str, dur: float, *shapes: list[int]) -> dict[str, Any]:
    """An event of an ONNX Runtime profile."""
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": dur,
        "args": {"input_type_shape": [{"float": shape} for shape in shapes]},
    }


def test_share_counts_nodes_that_touch_no_map() -> None:
    run = [
        node("conv", 60, [1, 3, 8, 8], [16, 3, 3, 3], [16]),
        node("top_k", 30, [1, 576]),
        node("nms", 10, [1, 20, 4], [1, 3, 20]),
    ]
    # The first two runs of each node are warm-up, and other events are no node's time.
    warm_up = [node(event["name"].removesuffix("_kernel_time"), 1e6) for event in run]
    other = [{"cat": "Session", "name": "model_run", "dur": 1000.0}]
    assert share_off_the_maps([*warm_up, *warm_up, *run, *run, *other]) == pytest.approx(0.4)


def test_share_of_an_empty_profile_is_nothing() -> None:
    assert share_off_the_maps([]) == 0.0


def test_spread_is_the_middle_eighty_percent() -> None:
    assert Spread.of([float(value) for value in range(101)]) == Spread(50.0, 10.0, 90.0)


def test_prepared_images_share_the_commonest_canvas(tmp_path: Path, known_bundle: Path) -> None:
    pictures = []
    for number, size in enumerate([(64, 48), (48, 64), (128, 96)]):
        Image.new("RGB", size, (number, 0, 0)).save(tmp_path / "picture.png")
        pictures.append((tmp_path / "picture.png").read_bytes())
    prepared = prepare(pictures, 96, read_bundle(known_bundle).manifest)
    assert prepared.images.shape == (2, 96, 128, 3)
    images, places = prepared.batch(1, 3)
    # Batch 1 of three images out of two: rows 3, 4, 5 going round.
    assert images[:, 0, 0, 0].tolist() == [2, 0, 2]
    assert [place.image_size for place in places] == [(96, 128), (48, 64), (96, 128)]


def test_bench_times_every_scale_and_precision(
    known_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--bundle", str(known_bundle), "--seconds", "0.01", "--json", str(out)]
    assert retinaserve.main(["bench", "--batch", "2", *arguments]) == 0
    figures = json.loads(out.read_text())
    assert [(row["scale"], row["canvas"], row["precision"]) for row in figures["rows"]] == [
        (96, "96x128", "int8"),
        (96, "96x128", "fp32"),
        (192, "192x256", "int8"),
        (192, "192x256", "fp32"),
    ]
    for row in figures["rows"]:
        stages = [row[stage]["median"] for stage in ("decode", "resize", "network", "postprocess")]
        assert row["total"]["median"] == pytest.approx(np.sum(stages), abs=0.1)
    assert [(ratio["of"], ratio["to"]) for ratio in figures["ratios"]] == [("fp32", "int8")] * 2
    shown = capsys.readouterr().out
    assert "batch 2" in shown
    assert figures["cpu"] in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scale", "7"], "--scale 7: the bundle's scales are 96, 192"),
        (["--batch", "0"], "--batch 0: accepted are 1 to 256"),
        (["--seconds", "nan"], "--seconds nan: accepted are positive numbers"),
        (["--precision", "fp16"], "bundle 'known' has no fp16 graph; it holds int8, fp32"),
    ],
)
def test_bad_argument_is_one_sentence(
    known_bundle: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retinaserve.main(["bench", "--bundle", str(known_bundle), *arguments]) == 2
    assert capsys.readouterr().err == f"retinaserve bench: {said}\n"
