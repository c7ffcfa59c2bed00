"""The training benchmark compares like with like, and runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.benchmark.plain_loop import PlainLoop
from model.benchmark.training import comparable, main, report
from model.data.loader import batches
from model.recipe_file import read_recipe
from model.training.setup import open_data, start_run
from model.training.step import take_step
from tests.model.training.tiny_run import quiet

RECIPE = """
name = "drawn"
[model]
backbone = "mobilenet_v2"
head_width = 16
head_depth = 1
[[data.train]]
format = "drawn"
count = 2
size = [64, 96]
[loss]
box = "giou"
[optimizer]
name = "adamw"
[train]
batch_size = 2
scale = 64
workers = 0
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "drawn.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50"])
def test_step_of_both_has_the_same_losses_and_gradients(recipe: Path, backbone: str) -> None:
    rule = comparable(read_recipe(recipe, [f"model.backbone={backbone}"]), "fp32")
    data = open_data(rule, quiet)
    run = start_run(rule, data, quiet, "cpu", resuming=True)
    for name, statistic in run.model.named_buffers():
        if name.endswith(("weight", "running_var")):
            statistic.uniform_(0.8, 1.2)
        else:
            statistic.normal_(std=0.1)
    plain = PlainLoop(run.model, rule.optimizer, "cpu")
    (batch,) = batches(data.stream, 0, 1, 2)

    ours = take_step(run, batch)
    assert ours.positives > 0
    assert plain.take_step(batch) == pytest.approx((ours.class_loss, ours.box_loss), rel=1e-5)
    expected = dict(plain.network.named_parameters())
    for name, parameter in run.model.named_parameters():
        gradient, other = parameter.grad, expected[name].grad
        assert gradient is not None
        assert other is not None
        # Rounding moves a few of a deep network's ReLUs across 0: at most 1.2e-3 was seen.
        assert (gradient - other).norm() <= 5e-3 * other.norm() + 1e-7, name


def test_report_has_medians_and_the_range_of_each_rounds_ratio() -> None:
    def of(*totals_s: float) -> list[dict[str, float]]:
        return [
            {"forward": 0.25 * t, "loss": 0.25 * t, "backward": 0.4 * t, "optimiser": 0.1 * t}
            for t in totals_s
        ]

    lines = list(report({"plain": of(2.0, 4.0, 3.0), "ours": of(1.0, 1.0, 2.0)}, batch_size=6))
    # Ratios of the rounds: 2, 4 and 1.5. Of 1 s the phases are 250, 250, 400 and 100 ms.
    assert lines[2].split()[1:6] == ["6.00", "2.00", "(1.50", "to", "4.00)"]
    assert lines[2].split()[6:] == ["250", "250", "400", "100"]


def test_command_prints_a_row_for_each_loop_and_the_wait(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recipe), "--rounds", "1", "--steps", "1", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("3 classes, 2 images on 64x96; medians of 1 rounds of 1 steps")
    assert [line[:10] for line in lines[3:6]] == ["plain     ", "ours, fp32", "ours, bf16"]
    assert lines[6].startswith("the recipe as it stands (fp32, adamw, 0 workers): ")


def test_bad_recipe_ends_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such recipe file" in capsys.readouterr().err
