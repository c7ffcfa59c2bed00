"""What `retinaserve quantize` measured, as a table for people."""

from __future__ import annotations

from export.quantize_bundle import Quantization


def table(found: Quantization) -> str:
    """Each group alone in 8 bits, then the graphs that were tried, and what came of it."""
    rule, steps = found.rule, found.search.steps
    last = steps[-1]
    width = max(map(len, found.groups))
    lines = [
        f"{len(found.groups)} groups, each alone in {rule.precision}, beside fp32 "
        f"(AP {_told(found.probed_ap)}) on {found.probed} of {found.pictures} pictures:",
        f"  {'group':<{width}}   work   time   score     box      AP  stays",
    ]
    for group, (change, work, time) in found.groups.items():
        of_time = "-" if time is None else f"{time:.1%}"
        lines.append(
            f"  {group:<{width}}{work:7.1%}{of_time:>7}{change.score:8.5f}{change.box:8.5f}"
            f"{_told(change.ap):>8}  {'float' if group in last.in_float else rule.precision}"
        )
    lines.append(
        f"AP on {found.pictures} pictures at scale {found.scale} (labels: {found.labels}): "
        f"fp32 {_told(found.reference_ap)}"
    )
    for step in steps:
        in_float = ", ".join(step.in_float)
        work = sum(p.work for group, p in found.groups.items() if group not in step.in_float)
        lines.append(
            f"  {_told(step.change.ap)} ({-step.drop:+.4f}) with {work:.0%} of the work in "
            f"{rule.precision}" + (f"; in float {in_float}" if in_float else "")
        )
    verdict = "held" if found.search.in_8_bits is not None else "not held"
    lines.append(f"accepted is a drop of {rule.max_ap_drop:g}: {verdict}")
    return "\n".join(lines)


def _told(ap: float | None) -> str:
    return "-" if ap is None else f"{ap:.4f}"
