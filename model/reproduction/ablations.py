"""The comparisons of losses, sampling and anchors: Tables 1a to 1d and 3."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

from model.reproduction.curves import figure_7
from model.reproduction.plots import panels
from model.reproduction.study import BALANCED, FOCAL, MINED, PLAIN, Study
from model.reproduction.tables import (
    MEASURES,
    PaperRows,
    compared,
    paper_ap,
    paper_table,
    points,
    table,
    values_of,
)

ALPHAS = {
    alpha: f"1a-alpha-{alpha}"
    for alpha in ("0.10", "0.25", "0.50", "0.75", "0.90", "0.99", "0.999")
}
GAMMAS = {"0": BALANCED} | {
    gamma: f"1b-gamma-{gamma}" for gamma in ("0.1", "0.2", "0.5", "1.0", "2.0", "5.0")
}
ANCHORS = ((1, 1), (2, 1), (3, 1), (1, 3), (2, 3), (3, 3), (4, 3))
"""Scales and ratios."""

STARS = (
    (0.5, 0.0),
    (1.0, 0.0),
    (1.0, 1.0),
    (2.0, 0.0),
    (2.0, 1.0),
    (2.0, 2.0),
    (4.0, 0.0),
    (4.0, 2.0),
)
"""(gamma, beta) of FL* for Figure 7: from ones that hardly spare easy examples to ones that do."""


def losses(study: Study, out: Path) -> str:
    """Tables 1a and 1b."""
    swept = {r"$\alpha$ of CE": ALPHAS, r"$\gamma$ of FL": GAMMAS}
    measured = {
        paper: values_of(study.outcomes(paper))
        for rows in swept.values()
        for paper in rows.values()
    }
    with panels(out / "losses.svg", len(swept)) as axes:
        for axis, (name, rows) in zip(axes, swept.items(), strict=True):
            ours = [measured[paper] for paper in rows.values()]
            for place, values in enumerate(ours):
                axis.plot([place] * len(values), values, ".", color="tab:blue")
            axis.plot([statistics.fmean(values) for values in ours], label="here, mean of runs")
            printed = [paper_ap(study, paper) for paper in rows.values()]
            axis.plot(printed, "--", color="tab:gray", label="paper, on COCO")
            axis.set(xlabel=name, ylabel="AP, points")
            axis.set_xticks(range(len(rows)), list(rows))
    alphas: PaperRows = {(alpha,): paper for alpha, paper in ALPHAS.items()}
    gammas: PaperRows = {
        (gamma, f"{study.recipe(paper).loss.alpha:g}"): paper for gamma, paper in GAMMAS.items()
    }
    return "\n".join(
        [
            "## Cross entropy by alpha (Table 1a)\n",
            paper_table(study, ("alpha",), alphas),
            "## Focal loss by gamma, with the paper's alpha for each (Table 1b)\n",
            paper_table(study, ("gamma", "alpha"), gammas),
            "![AP by alpha and gamma](losses.svg)\n",
            _gain(study, "Focal loss, gamma 2, over balanced CE, alpha .75", FOCAL, BALANCED, 2.9),
            _gain(study, "Balanced CE, alpha .75, over plain CE, alpha .5", BALANCED, PLAIN, 0.9),
            _gain(study, "Focal loss, gamma 2, over plain CE", FOCAL, PLAIN, 3.8),
        ]
    )


def ohem(study: Study, out: Path) -> str:
    """Table 1d."""
    rows: PaperRows = {
        ("OHEM", size, nms): f"1d-ohem-{size}-nms-{nms}"
        for nms in (0.7, 0.5)
        for size in (128, 256, 512)
    }
    for size in (128, 256, 512):
        rows["OHEM 1:3", size, 0.5] = f"1d-ohem-1-3-{size}-nms-0.5"
    rows["FL", "n/a", "n/a"] = (FOCAL, "1d-focal")
    return "\n".join(
        [
            "## Focal loss against hard example mining (Table 1d)\n",
            paper_table(study, ("method", "batch size", "nms"), rows),
            _gain(study, "Focal loss over OHEM 128, nms .5, the paper's best", FOCAL, MINED, 3.2),
        ]
    )


def anchors(study: Study, out: Path) -> str:
    """Table 1c."""
    rows: PaperRows = {}
    for scales, ratios in ANCHORS:
        paper = f"1c-scales-{scales}-ratios-{ratios}"
        default = (scales, ratios) == (3, 3)
        rows[scales, ratios, scales * ratios] = (FOCAL, paper) if default else paper
    title = "## Anchors at a location, from 1 to 12 (Table 1c)\n"
    return title + "\n" + paper_table(study, ("scales", "ratios", "anchors"), rows)


def focal_star(study: Study, out: Path) -> str:
    """Table 3 and Figure 7."""
    focal = study.outcomes(FOCAL)
    least = min(values_of(focal))
    rows, effective = [], dict[tuple[float, float], bool]()
    base = study.recipe("3-focal-star-2-1")
    for gamma, beta in STARS:
        rule = replace(base.loss, gamma=gamma, shift=beta)
        name = f"3-focal-star-{gamma:g}-{beta:g}"
        run = [study.outcome(base.model_copy(update={"name": name, "loss": rule}))]
        effective[gamma, beta] = values_of(run)[0] >= least
        said = "yes" if effective[gamma, beta] else "no"
        rows.append(
            (f"{gamma:g}", f"{beta:g}", *(points(run, measure) for measure in MEASURES), said)
        )
    figure_7(out / "figure-7.svg", effective)
    table_3: PaperRows = {
        ("CE", "", ""): (BALANCED, "3-ce"),
        ("FL", 2, ""): (FOCAL, "3-focal"),
        ("FL*", 2, 1): "3-focal-star-2-1",
        ("FL*", 4, 0): "3-focal-star-4-0",
    }
    return "\n".join(
        [
            "## FL and FL* against cross entropy (Table 3)\n",
            paper_table(study, ("loss", "gamma", "beta"), table_3),
            "## FL* by gamma and beta (Figure 7)\n",
            table(("gamma", "beta", *MEASURES, "effective"), rows),
            f"One run each. Effective: at least the lowest AP of the {len(focal)} runs of FL, "
            f"{least:.1f}.\n",
            "![FL* by gamma and beta](figure-7.svg)\n",
        ]
    )


def _gain(study: Study, name: str, paper: str, other: str, printed: float) -> str:
    gain = compared(study.outcomes(paper), study.outcomes(other))
    return f"* {name}: {gain}; in the paper {printed:+.1f}."
