"""What `retinaserve verify` measured, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from export.audit import GraphAudit
from export.contract import DELTAS, LOGITS
from export.figures import Figure
from export.stages import share_of, told

WIDTH = 14
"""Of the first column."""


def table(audit: GraphAudit) -> str:
    """One graph's results: a line a stage, in the order of the graph, and where it departs."""
    past = {figure.stage for figure in audit.figures if not figure.within}
    report = audit.report
    lines = [f"{audit.graph.file} ({audit.graph.precision}) on {audit.engine}"]
    if "images" in report:
        lines.append(f"  {report['images']} pictures on {len(report['canvases'])} canvases")
    stages = report.get("stages", {})
    lines += _stage_lines(stages, past)
    lists = {"candidates": stages.get("candidates"), "detections": _detections(report)}
    if beside := report.get("beside"):
        lists[f"detections beside {beside['graph']}"] = beside
    lines += _list_lines({name: part for name, part in lists.items() if part}, past)
    if "alone_worst_box_px" in report:
        box, score = report["alone_worst_box_px"], report["alone_worst_score"]
        text = f"alone and in any batch: boxes within {box:.2g} px, scores within {score:.2g}"
        lines.append(_marked(text, "company", past))
    if record := report.get("golden_record"):
        box, score = record["worst_box_px"], record["worst_score"]
        text = f"golden record: boxes within {box:.2g} px, scores within {score:.2g}"
        lines.append(_marked(text, "golden record", past))
    if ap := report.get("ap"):
        text = f"AP at {ap['scale']}: {ap['AP']:.4f}, of {ap['of']} {ap['reference_AP']:.4f}"
        lines.append(_marked(text, f"AP against {ap['of']}", past))
    lines += [f"  note: {note}" for note in audit.notes]
    lines.append(_verdict(audit.departure, bool(audit.figures)))
    return "\n".join(lines)


def _stage_lines(stages: dict[str, Any], past: set[str]) -> Iterator[str]:
    if not stages.keys().isdisjoint((*LOGITS, *DELTAS)):
        yield _row("", "worst", "mean", "spread", "worst/most", "mean/most")
    for names in (LOGITS, DELTAS):
        shown = [name for name in names if name in stages]
        most = max((stages[name]["spread"] for name in shown), default=0.0)
        for name in shown:
            worst, mean, spread = (stages[name][key] for key in ("worst", "mean", "spread"))
            shares = (f"{share_of(value, most):.2g}" for value in (worst, mean))
            row = _row(told(name), f"{worst:.2g}", f"{mean:.2g}", f"{spread:.2g}", *shares)
            yield row + _mark(told(name), past)


def _list_lines(lists: dict[str, dict[str, Any]], past: set[str]) -> Iterator[str]:
    if lists:
        yield _row("", "compared", "in both", "unmatched", "tied", "worst px", "worst score")
    for name, part in lists.items():
        yield (
            _row(
                name,
                str(part["detections"]),
                f"{part['matched_share']:.2%}",
                f"{part['unmatched_share']:.2%}",
                f"{part['tied_share']:.2%}",
                f"{part['worst_box_px']:.2g}",
                f"{part['worst_score']:.2g}",
            )
            + _mark(name, past)
        )


def _detections(report: dict[str, Any]) -> dict[str, Any] | None:
    return report if "matched_share" in report else None


def _row(name: str, *cells: str) -> str:
    return f"  {name:<{WIDTH}}" + "".join(f"{cell:>13}" for cell in cells)


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
