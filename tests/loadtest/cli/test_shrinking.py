"""How far boxes move when the JPEG decoder shrinks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.manifest import Bundle
from loadtest.cli import shrinking
from service.pictures.images import prepare_image
from tests.service.fakes import detections, make_manifest, picture


def test_moves_are_those_of_the_farthest_side_to_the_nearest_box_of_the_class() -> None:
    one = detections(((0, 0, 10, 10), 0.9, 1), ((50, 50, 60, 60), 0.8, 0))
    other = detections(((1, 0, 10, 12), 0.9, 1), ((5, 5, 9, 9), 0.9, 1), ((0, 0, 10, 10), 0.7, 2))
    assert shrinking.moves(one, other).tolist() == [2.0, np.inf]
    assert shrinking.moves(one, detections()).tolist() == [np.inf, np.inf]


def test_values_rounded_at_random_are_the_exact_ones_on_the_average() -> None:
    data = picture(99, 77, "PNG")
    prepared = prepare_image(data, 64, make_manifest())
    rng = np.random.default_rng(2)
    canvases = [shrinking.round_at_random(data, prepared, rng).canvas for _ in range(200)]
    apart = np.array(canvases, np.int16) - prepared.canvas
    assert np.abs(apart).max() == 1
    height, width = prepared.place.resized
    # Rounding is off by .25 on the average, and Pillow rounds twice.
    assert 0.2 < np.abs(apart[:, :height, :width].mean(axis=0)).mean() < 0.35
    assert not apart[:, height:].any()
    assert not apart[:, :, width:].any()


def test_every_way_is_measured(
    tiny_bundle: Bundle, small_scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--bundle", str(tiny_bundle.folder), "--images", str(small_scenes / "images")]
    arguments += ["--enlarged", "2", "--score", "0.1"]
    assert shrinking.main(arguments) == 0
    shown = capsys.readouterr().out.splitlines()
    ways = ["whole", "1/2", "1/4", "1/8", "rounded", "+-1"]
    assert [line.split()[0] for line in shown[2:]] == ways
    assert shown[2].split()[-4:] == ["0.00", "0.00", "0.00", "0"]
