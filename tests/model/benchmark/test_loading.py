"""The loading benchmark runs and counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from model.benchmark import loading
from model.benchmark.loading import main, measured
from model.data.samples import SampleStream

RECIPE = """
name = "drawn"
[[data.train]]
format = "drawn"
count = 2
size = [64, 96]
[train]
batch_size = 2
scale = 64
"""


def test_rate_is_of_the_batches_between_the_first_and_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A batch of 4 images every half second, but for two that had been waiting.
    arrivals_s = iter([0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    asked: list[tuple[object, ...]] = []

    def batches(*args: object) -> range:
        asked.append(args)
        return range(8)

    monkeypatch.setattr(loading, "batches", batches)
    monkeypatch.setattr(time, "perf_counter", lambda: next(arrivals_s))
    stream = SampleStream.__new__(SampleStream)
    rate, _ = measured(stream, 4, 1, 8)
    # Two steps of 4 images, three ahead of them and three behind.
    assert asked == [(stream, 0, 8, 4, 1)]
    assert rate == 8.0


def test_command_prints_a_line_for_each_number_of_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drawn.toml").write_text(RECIPE)
    assert main([str(tmp_path / "drawn.toml"), "--images", "4", "--workers", "0"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2 pictures, scale 64 on 64x96"
    assert second.startswith("workers 0: ")


def test_bad_recipe_ends_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such recipe file" in capsys.readouterr().err
