"""The evaluation benchmark runs and prints what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.benchmark.evaluation import main, plain_detect
from model.checkpoint import load_checkpoint
from model.data.coco import read_coco
from model.evaluation.run import detect_records


def test_plain_form_finds_as_much_as_the_fast_one(
    tiny_checkpoint: Path, small_scenes: Path
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    records = read_coco(small_scenes / "annotations.json", small_scenes / "images").records[:2]
    found = detect_records(checkpoint, records, 64)
    count = sum(len(of_image.boxes) for of_image in found.values())
    assert plain_detect(checkpoint, records, 64) == count > 0


def test_tables_have_a_line_for_each_form(
    tiny_checkpoint: Path, small_scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(small_scenes / "annotations.json")]
    images = ["--images", str(small_scenes / "images")]
    size = ["--scale", "64", "--pictures", "2", "--rounds", "1"]
    assert main([str(tiny_checkpoint), *data, *images, *size]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("2 pictures at scale 64, ")
    starts = ["plain ", "batches of 1 ", "batches of 4 ", "batches of 8 ", "pictures alone "]
    starts += ["post-processing", "oracle ", "batched "]
    assert all(line.startswith(start) for line, start in zip(lines[1:], starts, strict=True))


def test_missing_file_ends_with_a_sentence(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "none.json"), "--images", str(tmp_path)]
    assert main([str(tiny_checkpoint), *data]) == 2
    assert "none.json: no such annotation file" in capsys.readouterr().err
    assert main([str(tmp_path / "none.pt"), *data]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'none.pt'}: no such weights file\n"
