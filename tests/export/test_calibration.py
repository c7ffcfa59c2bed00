"""Ranges seen while inputs run through a trunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from export.calibration import alone, calibration_feeds, ranges_of
from export.inputs import pictures_of, records_of
from export.manifest import Bundle
from export.trunk import Trunk
from model.errors import InputError
from tests.export.small_graphs import RESNET, graph_of, some_images


def test_range_is_the_least_and_the_greatest_over_all_inputs() -> None:
    def ranges(*feeds: dict[str, np.ndarray]) -> tuple[float, float]:
        least, greatest = ranges_of(Trunk(graph_of(RESNET)), feeds)["second"].range_value
        return float(least.item()), float(greatest.item())

    first, second = ranges(some_images(1)), ranges(some_images(2))
    both = ranges(some_images(1), some_images(2))
    assert first != second
    assert both == (min(first[0], second[0]), max(first[1], second[1]))


def test_only_what_comes_before_the_last_convolutions_runs(tiny_bundle: Bundle) -> None:
    graph = onnx.load(tiny_bundle.graph_path(tiny_bundle.manifest.graph_of("fp32")))
    part = alone(Trunk(graph))
    assert {node.op_type for node in part.graph.node}.isdisjoint({"TopK", "NonMaxSuppression"})
    assert [entry.name for entry in part.graph.input] == ["images", "image_sizes"]


def test_pictures_take_the_scales_in_turn(tiny_bundle: Bundle, small_scenes: Path) -> None:
    feeds = calibration_feeds(small_scenes / "images", tiny_bundle.manifest, 4)
    assert [feed["images"].shape[1] for feed in feeds] == [64, 96, 64, 96]


@pytest.fixture
def one_broken(tmp_path: Path) -> Path:
    """Three pictures, of which b.png is cut short."""
    for name in ("a", "b", "c"):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:50])
    return tmp_path


def test_unreadable_picture_is_named_and_left_out(
    one_broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(list(pictures_of(one_broken, 10))) == 2
    assert "skipped: " in caplog.text
    assert "b.png: not a picture that can be decoded" in caplog.text
    assert [record.source.name for record in records_of(one_broken, 10)] == ["a.png", "c.png"]


def test_folder_without_a_readable_picture_is_bad_input(one_broken: Path) -> None:
    for name in ("a", "c"):
        (one_broken / f"{name}.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 3 pictures tried there can be read"):
        list(pictures_of(one_broken, 10))
