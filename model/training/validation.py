"""Evaluation on val while training, shared out over the processes."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from model.checkpoint import Checkpoint
from model.data.records import DataSet
from model.distributed import agreed, copy_from_first, gather, rank, world_size
from model.evaluation.coco_metrics import ImageDetections, coco_metrics
from model.evaluation.run import detect_records
from model.training.ends import Signals
from model.training.state import Run


def evaluate(run: Run, val: DataSet, signals: Signals) -> Checkpoint | None:
    """The weights to use, with their metrics on val; None if a signal came meanwhile.

    Every process must ask and detects in its share of the pictures; the first alone counts, the
    others get a checkpoint without metrics.
    """
    checkpoint = run.checkpoint({}, resumable=False)
    # Of a trained batch norm each process has statistics of its own.
    copy_from_first(checkpoint.state.values())
    rule = run.recipe.train
    own: dict[int, ImageDetections] = {}
    with agreed(), suppress(_Abandoned):
        own = detect_records(
            checkpoint,
            val.records[rank() :: world_size()],
            rule.scale,
            autocast=rule.precision == "bf16",
            device=run.device,
            progress=partial(_abandon, signals),
        )
    found = {image: each for part in gather(own) for image, each in part.items()}
    if signals.anywhere():
        return None
    if rank() == 0:
        in_order = {record.image_id: found[record.image_id] for record in val.records}
        metrics: dict[str, Any] = coco_metrics(val.coco, run.classes, in_order)
        checkpoint.metrics = {"val": metrics, "scale": rule.scale}
    return checkpoint


class _Abandoned(Exception):
    """A signal came: there is no time to detect in the rest of the pictures."""


def _abandon(signals: Signals, pictures: int) -> None:
    if signals.number:
        raise _Abandoned
