"""Accuracy and time by scale: Table 1e."""

from __future__ import annotations

import time
from pathlib import Path

from model.checkpoint import load_checkpoint
from model.evaluation.coco_metrics import coco_metrics
from model.evaluation.run import detect_records
from model.geometry import CANVAS_MULTIPLE
from model.reproduction.plots import panels
from model.reproduction.study import FOCAL, Study
from model.reproduction.tables import paper_ap, points, table
from model.training.state import BEST

PAPER_SCALES = (400, 500, 600, 700, 800)
PAPER_DEFAULT = 600
WARM_UP = 8
"""Pictures before the clock starts."""


def scales(study: Study, out: Path) -> str:
    """Table 1e: a model trained for each scale, and the weights of one scale used at all."""
    setting = study.setting
    assert study.data.val is not None
    val = study.data.val.open(None)
    one = load_checkpoint(study.outcome(study.recipe(FOCAL)).folder / BEST)
    rows, aps, times = [], [], []
    for paper_scale in PAPER_SCALES:
        scale = round(paper_scale / PAPER_DEFAULT * setting.scale / CANVAS_MULTIPLE)
        scale *= CANVAS_MULTIPLE
        paper = f"1e-r50-{paper_scale}"
        own = study.outcome(study.recipe(paper, scale=scale))
        detect_records(one, val.records[:WARM_UP], scale, device=setting.device)
        begin = time.perf_counter()
        found = detect_records(one, val.records, scale, device=setting.device)
        spent_ms = 1000 * (time.perf_counter() - begin) / len(val.records)
        shared = 100 * (coco_metrics(val.coco, one.classes, found)["AP"] or 0.0)
        rows.append(
            (
                scale,
                points([own]),
                points([own], "AP50"),
                f"{shared:.1f}",
                f"{spent_ms:.1f}",
                f"{paper_scale}: {paper_ap(study, paper)}",
            )
        )
        aps.append((own.metrics.get("AP", 0.0) * 100, shared))
        times.append(spent_ms)
    with panels(out / "scales.svg") as (axis,):
        for label, values in zip(
            ("trained for each scale", "trained for one"), zip(*aps, strict=True), strict=True
        ):
            axis.plot(times, values, "o-", label=label)
        axis.set(xlabel="ms a picture", ylabel="AP, points")
    header = (
        "scale",
        "AP, trained for it",
        "AP50",
        f"AP, trained for {setting.scale}",
        "ms a picture",
        "paper's scale and AP (R50)",
    )
    return "\n".join(
        [
            "## Accuracy and time by scale (Table 1e)\n",
            table(header, rows),
            "Time from file to detections, in batches of up to 8 pictures; the paper's is of one "
            "picture on an M40.\n",
            "![AP by time](scales.svg)\n",
        ]
    )
