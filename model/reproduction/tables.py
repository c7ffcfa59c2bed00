"""Markdown of figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from model.reproduction.study import Outcome, Study

MEASURES = ("AP", "AP50", "AP75")

PaperRows = dict[tuple[object, ...], str | tuple[str, str]]
"""By the cells in front: a recipe of the paper, or one that is run, and another, of the same losses
and anchors, whose AP the paper prints in this table."""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def points(outcomes: Sequence[Outcome], measure: str = "AP") -> str:
    """The mean of runs that differ in their seed in AP points, with the standard deviation of
    several; 'stopped' if one of them ended without metrics.
    """
    if any(outcome.stopped for outcome in outcomes):
        return "stopped"
    values = values_of(outcomes, measure)
    mean = f"{statistics.fmean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def values_of(outcomes: Sequence[Outcome], measure: str = "AP") -> list[float]:
    """A measure of each run in AP points, 0 for one that stopped."""
    return [100 * (outcome.metrics.get(measure) or 0.0) for outcome in outcomes]


def compared(outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> str:
    """By how many AP points the mean of runs exceeds that of others, beside the spread of both."""
    ours, theirs = values_of(outcomes), values_of(others)
    gain = statistics.fmean(ours) - statistics.fmean(theirs)
    if min(len(ours), len(theirs)) < 2:
        return f"{gain:+.1f} points (one run each or of one: noise unknown)"
    error = (
        statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)
    ) ** 0.5
    return f"{gain:+.1f} ± {error:.1f} points (difference of means and its standard error)"


def paper_ap(study: Study, paper: str) -> float:
    """The AP that the paper prints for one of its recipes."""
    expect = study.recipe(paper).expect
    assert expect is not None
    return expect.AP


def paper_table(study: Study, columns: tuple[str, ...], rows: PaperRows) -> str:
    """The runs of recipes of the paper beside what the paper prints."""
    lines = []
    for cells, papers in rows.items():
        run, printed = papers if isinstance(papers, tuple) else (papers, papers)
        outcomes = study.outcomes(run)
        measured = (points(outcomes, measure) for measure in MEASURES)
        lines.append((*cells, *measured, len(outcomes), paper_ap(study, printed)))
    return table((*columns, *MEASURES, "runs", "paper's AP"), lines)
