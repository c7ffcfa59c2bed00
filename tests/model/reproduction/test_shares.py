"""Figure 4: shares of the loss."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from model.checkpoint import Checkpoint, load_checkpoint
from model.data.coco import read_coco
from model.reproduction.shares import (
    Margins,
    cumulative_share,
    figure_4,
    margins_of,
    share_of_hardest,
)


def test_cumulative_share_sums_from_the_easiest() -> None:
    # CE of p_t 1/2, 1/4 and 1/16: log 2 times 1, 2 and 4.
    x_t = torch.tensor([-math.log(15.0), 0.0, -math.log(3.0)])
    assert cumulative_share(x_t, 0.0).tolist() == pytest.approx([1 / 7, 3 / 7, 1.0])


def test_share_of_the_hardest_by_gamma() -> None:
    # p_t 1/2 and 1/4: CE log 2 and 2 log 2; with gamma 2 times 1/4 and 9/16.
    x_t = torch.tensor([0.0, -math.log(3.0)])
    assert share_of_hardest(x_t, 0.0, 0.5) == pytest.approx(2 / 3)
    assert share_of_hardest(x_t, 2.0, 0.5) == pytest.approx(4.5 / 5.5)
    assert share_of_hardest(x_t, 2.0, 1.0) == 1.0


def test_margins_are_those_of_every_counted_anchor_and_class(
    small_scenes: Path, tiny_checkpoint: Path
) -> None:
    checkpoint = constant(load_checkpoint(tiny_checkpoint), -2.0)
    records = read_coco(small_scenes / "annotations.json", small_scenes / "images").records[:2]
    margins = margins_of(checkpoint, records, 96, "cpu")
    assert margins.positive.unique().tolist() == [-2.0]
    assert margins.negative.unique().tolist() == [2.0]
    # 2 pictures, 3 classes, 9 anchors at 12 * 16 + 6 * 8 + 3 * 4 + 2 * 2 + 1 locations; those
    # between the thresholds don't count.
    everything = 2 * 3 * 9 * 257
    counted = len(margins.positive) + len(margins.negative)
    assert 0.9 * everything < counted < everything
    boxes = sum(len(record.boxes) for record in records)
    assert boxes <= len(margins.positive) < 20 * boxes


def test_figure_4_is_a_file_that_is_always_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    margins = Margins(torch.randn(500), torch.randn(5000) + 4)
    for name in ("a.svg", "b.svg"):
        figure_4(tmp_path / name, margins)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert "5,000 negatives" in text


def constant(checkpoint: Checkpoint, logit: float) -> Checkpoint:
    """The checkpoint with a class head that says `logit` whatever it sees."""
    state = dict(checkpoint.state)
    state["class_head.output.weight"] = torch.zeros_like(state["class_head.output.weight"])
    state["class_head.output.bias"] = torch.full_like(state["class_head.output.bias"], logit)
    checkpoint.state = state
    return checkpoint
