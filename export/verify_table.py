"""What `retinaserve verify` measured, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from export.contract import DELTAS, LOGITS
from export.figures import Figure
from export.graph_audit import GraphAudit
from export.stages import share_of, told

WIDTH = 14
"""Of the first column."""


def table(audit: GraphAudit) -> str:
    """One graph's results: a line a stage, in the order of the graph, and where it departs."""
    past = {figure.stage for figure in audit.figures if not figure.within}
    report = audit.report
    beside = report.get("beside")
    compared = beside or report
    lines = [f"{audit.graph.file} ({audit.graph.precision}) on {audit.engine}"]
    if "images" in compared:
        against = beside["graph"] if beside else report.get("against", {}).get("checkpoint")
        canvases = len(compared["canvases"])
        lines.append(
            f"  {compared['images']} pictures on {canvases} canvas{'es' if canvases > 1 else ''}, "
            f"beside {against or 'the model'}"
        )
    stages = compared.get("stages", {})
    lines += _stage_lines(stages, past)
    lists = {"candidates": stages.get("candidates"), "detections": _detections(compared)}
    lines += _list_lines({name: part for name, part in lists.items() if part}, past)
    if "alone_worst_box_px" in compared:
        text = _within(compared["alone_worst_box_px"], compared["alone_worst_score"])
        lines.append(_marked(f"alone and in any batch: {text}", "company", past))
    if record := report.get("golden_record"):
        text = _within(record["worst_box_px"], record["worst_score"])
        lines.append(_marked(f"golden record: {text}", "golden record", past))
    if ap := report.get("ap"):
        text = f"AP at {ap['scale']}: {ap['AP']:.4f}"
        if of := ap.get("of"):
            text += f", of {of} {ap['reference_AP']:.4f}"
        lines.append(_marked(text, f"AP against {of}", past))
    lines += [f"  note: {note}" for note in audit.notes]
    lines.append(_verdict(audit.departure, bool(audit.figures)))
    return "\n".join(lines)


def _stage_lines(stages: dict[str, Any], past: set[str]) -> Iterator[str]:
    if not stages.keys().isdisjoint((*LOGITS, *DELTAS)):
        yield _row("", "worst", "mean", "spread", "worst share", "mean share")
    for names in (LOGITS, DELTAS):
        shown = [name for name in names if name in stages]
        most = max((stages[name]["spread"] for name in shown), default=0.0)
        for name in shown:
            worst, mean, spread = (stages[name][key] for key in ("worst", "mean", "spread"))
            shares = (share_of(value, most) for value in (worst, mean))
            row = _row(told(name), *map(_short, (worst, mean, spread, *shares)))
            yield row + _mark(told(name), past)


def _list_lines(lists: dict[str, dict[str, Any]], past: set[str]) -> Iterator[str]:
    if lists:
        yield _row(
            "", "compared", "in both", "faint", "tied", "unmatched", "mean IoU", "worst px", "score"
        )
    for name, part in lists.items():
        told_of = [part[f"{what}_share"] for what in ("matched", "tied", "unmatched")]
        shares = [told_of[0], max(0.0, 1.0 - sum(told_of)), *told_of[1:]]
        yield (
            _row(
                name,
                str(part["detections"]),
                *(f"{share:.2%}" for share in shares),
                f"{part['mean_iou']:.4f}",
                _short(part["worst_box_px"]),
                _short(part["worst_score"]),
            )
            + _mark(name, past)
        )


def _detections(report: dict[str, Any]) -> dict[str, Any] | None:
    return report if "matched_share" in report else None


def _short(value: float) -> str:
    """Two digits, or all before the point."""
    return f"{value:.0f}" if 100.0 <= value < np.inf else f"{value:.2g}"


def _within(box_px: float, score: float) -> str:
    return f"boxes within {_short(box_px)} px, scores within {_short(score)}"


def _row(name: str, *cells: str) -> str:
    return f"  {name:<{WIDTH}}" + "".join(f"{cell:>12}" for cell in cells)


def _mark(stage: str, past: set[str]) -> str:
    return "  <- past its bound" if stage in past else ""


def _marked(text: str, stage: str, past: set[str]) -> str:
    return f"  {text}{_mark(stage, past)}"


def _verdict(departure: Figure | None, compared: bool) -> str:
    if not compared:
        return "  nothing to compare it with: give --against CKPT"
    if departure is None:
        return "  within all bounds"
    return f"  departs at the {departure.stage}: {departure}"
