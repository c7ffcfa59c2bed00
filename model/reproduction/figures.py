"""Figures 1, 4, 5 and 6."""

from __future__ import annotations

from pathlib import Path

from model.checkpoint import load_checkpoint
from model.reproduction.curves import figure_1, figure_5, figure_6
from model.reproduction.shares import GAMMAS, figure_4, margins_of, share_of_hardest
from model.reproduction.study import FOCAL, Study
from model.reproduction.tables import table
from model.training.state import BEST

PARTS = {
    "hardest 20% of positives": (0, 0.2),
    "hardest 20% of negatives": (1, 0.2),
    "hardest 1% of negatives": (1, 0.01),
}
"""Which margins of `Margins`, and what share of them."""


def figures(study: Study, out: Path) -> str:
    """The closed forms, and the loss of the examples of a trained model."""
    figure_1(out / "figure-1.svg")
    figure_5(out / "figure-5.svg")
    figure_6(out / "figure-6.svg")
    setting = study.setting
    given = setting.checkpoint
    trained = load_checkpoint(given or study.outcome(study.recipe(FOCAL)).folder / BEST)
    assert study.data.val is not None
    val = study.data.val.open(trained.classes)
    margins = margins_of(trained, val.records, trained.recipe["train"]["scale"], setting.device)
    figure_4(out / "figure-4.svg", margins)
    rows = [
        (
            f"{gamma:g}",
            *(f"{share_of_hardest(margins[i], gamma, part):.1%}" for i, part in PARTS.values()),
        )
        for gamma in GAMMAS
    ]
    return "\n".join(
        [
            "## The losses and their derivatives (Figures 1, 5 and 6)\n",
            "![Figure 1](figure-1.svg) ![Figure 5](figure-5.svg) ![Figure 6](figure-6.svg)\n",
            "## Whose loss it is (Figure 4)\n",
            f"Of {given or 'the run with the focal loss, gamma 2'}, on the {len(val.records)} "
            f"pictures of val: {len(margins.positive):,} positives, {len(margins.negative):,} "
            "negatives. The share of the loss that comes from the\n",
            table(("gamma", *PARTS), rows),
            "![Figure 4](figure-4.svg)\n",
        ]
    )
