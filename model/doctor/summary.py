"""The examination in a few lines for the terminal, and whole as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from model.doctor.anchor_exam import AnchorExam
from model.doctor.catalogue import Severity
from model.doctor.coverage import Coverage
from model.doctor.examination import Examination
from model.doctor.proposal import anchors_toml
from model.geometry import LEVELS

FORMAT = 1
"""Of the JSON; a change that breaks its readers raises it."""

SHOWN = 3
"""Examples of a finding in the terminal."""


def verdict(exam: Examination) -> str:
    """One sentence: what will happen if this data is trained on."""
    if errors := exam.count(Severity.ERROR):
        kinds = "one kind of fault" if errors == 1 else f"{errors} kinds of faults"
        return f"Training will refuse this data or learn nonsense from it: {kinds} to mend first."
    if warnings := exam.count(Severity.WARNING):
        kinds = "one thing" if warnings == 1 else f"{warnings} things"
        return f"Training will run; {kinds} may make it worse than it could be."
    return "Healthy: nothing in the data or the recipe explains a bad AP."


def summary_lines(exam: Examination) -> Iterator[str]:
    """What a person reads in the terminal."""
    for data in exam.data:
        labels = data.labels
        name = f"{labels.where}: " if labels.where else ""
        yield (
            f"{name}{labels.source.annotations}: {len(labels.pictures)} pictures, "
            f"{len(labels.boxes)} boxes, {len(labels.class_names)} classes"
        )
    for finding in exam.findings:
        where = f"[{finding.where}] " if finding.where else ""
        yield ""
        yield f"{finding.severity.upper():<8}{where}{finding.sentence} ({finding.count})"
        yield from (f"          {example}" for example in finding.examples[:SHOWN])
        if finding.examples and finding.count > SHOWN:
            yield f"          and {finding.count - SHOWN} more"
        yield f"        > {finding.advice}"
    yield ""
    if exam.anchors:
        yield f"anchors: {_coverage_text(exam.anchors.coverage)}"
        if exam.anchors.proposed:
            spec, better = exam.anchors.proposed
            yield f"with these: {_coverage_text(better)}"
            yield from (f"    {line}" for line in anchors_toml(spec).splitlines())
    yield verdict(exam)


def as_json(exam: Examination) -> dict[str, Any]:
    """Everything machine-readable; docs/doctor.md names the keys."""
    conditions, counts, ids = exam.conditions, exam.boxes_of_class.tolist(), exam.category_ids
    return {
        "format": FORMAT,
        "verdict": verdict(exam),
        "counts": {severity.value: exam.count(severity) for severity in Severity},
        "conditions": {
            "scale": conditions.scale,
            "canvas": str(conditions.canvas or "auto"),
            "anchors": asdict(conditions.anchors),
            "matching": asdict(conditions.matching),
        },
        "data": [
            {
                "where": data.labels.where,
                "annotations": str(data.labels.source.annotations),
                "images": str(data.labels.source.images),
                "pictures": len(data.labels.pictures),
                "boxes": len(data.labels.boxes),
                "learnt": int(data.learnt.sum()),
            }
            for data in exam.data
        ],
        "findings": [asdict(finding) for finding in exam.findings],
        "classes": [
            {"index": index, "name": name, "category_id": ids.get(name), "boxes": counts[index]}
            for index, name in enumerate(exam.classes)
        ],
        "anchors": _anchors_json(exam.anchors, exam.classes) if exam.anchors else None,
    }


def _anchors_json(exam: AnchorExam, classes: tuple[str, ...]) -> dict[str, Any]:
    positives = np.percentile(exam.coverage.positives_of_picture, [0, 50, 100]).tolist()
    proposal = None
    if exam.proposed:
        spec, better = exam.proposed
        proposal = asdict(spec) | {
            "toml": anchors_toml(spec),
            "coverage": _coverage_json(better),
            "classes": _classes_json(exam, better, classes),
        }
    return {
        "pictures": len(exam.pictures),
        "positives_of_picture": dict(zip(("least", "median", "most"), positives, strict=True)),
        "coverage": _coverage_json(exam.coverage),
        "classes": _classes_json(exam, exam.coverage, classes),
        "proposal": proposal,
        "search": {"tried": exam.search.tried, "most_reached": exam.search.most}
        if exam.search
        else None,
        "other_scales": [{"scale": scale, "reached": share} for scale, share in exam.other_scales],
    }


def _classes_json(exam: AnchorExam, coverage: Coverage, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: _coverage_json(coverage.part(exam.classes == index))
        for index, name in enumerate(classes)
        if (exam.classes == index).any()
    }


def _coverage_json(coverage: Coverage) -> dict[str, Any]:
    """A coverage of one or more boxes."""
    levels = {
        f"P{level}": {"boxes": int(there.sum()), "reached": coverage.share_reached(there)}
        for place, level in enumerate(LEVELS)
        if (there := coverage.level == place).any()
    }
    return {
        "boxes": len(coverage.best_iou),
        "reached": coverage.share_reached(),
        "mean_best_iou": float(coverage.best_iou.mean()),
        "low_quality_only": int(coverage.rescued.sum()),
        "without_anchor": int(coverage.without.sum()),
        "levels": levels,
    }


def _coverage_text(coverage: Coverage) -> str:
    return (
        f"{coverage.share_reached():.1%} of {len(coverage.best_iou)} boxes have one with an IoU of "
        f"{coverage.foreground:g} or more, mean best IoU {coverage.best_iou.mean():.3f}; boxes "
        f"without any anchor: {coverage.without.sum()}"
    )
