"""The benchmark of the training loss, at its smallest."""

from __future__ import annotations

import pytest

from model.benchmark.criterion import VARIANTS, Case, Setting, main
from model.letterbox import Canvas


def test_variants_compute_the_same_loss() -> None:
    case = Case(Setting(Canvas(64, 64), num_classes=3, images=2, boxes=4))
    naive, ours = (variant(case).item() for variant in VARIANTS.values())
    assert ours == pytest.approx(naive, rel=1e-5)


@pytest.mark.slow
def test_table_has_a_row_for_each_variant_and_the_ratio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "--canvas 256x256 --classes 20 --batch 1 --boxes 4 --rounds 1"
    monkeypatch.setattr("sys.argv", ["criterion", *sizes.split()])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "12276 anchors, 20 classes, 1 images of 4 boxes"
    assert [line.split("  ")[0] for line in lines[-3:]] == ["naive", "ours", "naive / ours"]
