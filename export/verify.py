"""Does a graph compute what the trained model computes? Measured, with bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from export.company import AloneTally, cpu_bounds
from export.engines.parity import BOUNDS, Bounds, Detector, Differences
from export.figures import Figure, first_past
from export.inputs import Placed, run
from export.manifest import Flavour, Precision, Thresholds
from export.plain_session import PlainSession
from export.reference import EagerModel, Reference
from export.stages import Stages, StageTally
from model.checkpoint import Checkpoint
from model.letterbox import Canvas

LEAST_DETECTIONS = 20
"""With fewer in the first pictures the score threshold is set to 0, so that much is compared."""


LARGEST_BATCH = 8
"""In which an image is compared with itself alone."""


class VerificationError(RuntimeError):
    """A graph that departs from the model by more than its bounds."""


@dataclass(frozen=True)
class Verdict:
    """What was measured: `figures` in the order of the graph, `report` for the manifest."""

    figures: list[Figure]
    report: dict[str, Any]

    @property
    def departure(self) -> Figure | None:
        """The first figure past its bound: where the graph departs. None: it is within all."""
        return first_past(self.figures)


def verify(
    graph: bytes,
    checkpoint: Checkpoint,
    batches: Sequence[Sequence[Placed]],
    precision: Precision,
    thresholds: Thresholds,
) -> dict[str, Any]:
    """Compares a graph with the eager model and the post-processing oracle on batches of pictures.

    Returns the measured differences; raises VerificationError, with the figure and its bound, when
    one is past its bound.
    """
    detector = PlainSession(graph)
    verdict = examine(
        detector,
        Stages(graph),
        EagerModel(checkpoint),
        batches,
        precision,
        thresholds,
        largest_batch_of(detector.flavour),
    )
    if past := verdict.departure:
        raise VerificationError(
            f"{precision} graph against the eager model: {past} "
            f"(over {verdict.report['images']} images)"
        )
    return verdict.report


def examine(
    detector: Detector,
    stages: Stages | None,
    reference: Reference,
    batches: Sequence[Sequence[Placed]],
    precision: Precision,
    thresholds: Thresholds,
    largest_batch: int = LARGEST_BATCH,
    alone_bounds: Bounds | None = None,
) -> Verdict:
    """All differences, stage by stage, whether within their bounds or not.

    Each picture also runs alone, and one in many companies: detections must not depend on them, by
    more than `alone_bounds`, those of the CPU unless given.
    """
    first = [reference.look(entry, thresholds).detections for entry in batches[0]]
    thresholds = comparable(sum(map(len, first)), thresholds)
    stage_tally = StageTally(precision, thresholds)
    tally = Differences(BOUNDS[precision], thresholds)
    alone = AloneTally(thresholds, alone_bounds or cpu_bounds(precision))
    shown = tqdm(batches, "comparing", unit="batch", leave=False, disable=None)
    for batch in shown:
        shown.set_postfix_str(f"canvas {batch[0].place.canvas}")
        found = run(detector, batch, thresholds)
        for entry, in_batch in zip(batch, found, strict=True):
            seen = reference.look(entry, thresholds)
            evidence = stage_tally.add(seen, stages.look(entry, thresholds) if stages else {})
            tally.compare(seen.detections, in_batch, evidence)
            if len(batch) > 1:
                alone.add(run(detector, [entry], thresholds)[0], in_batch)
    alone.add_companies(detector, smallest_canvas(batches), largest_batch)
    report = {
        **tally.report(),
        **alone.report(),
        "score_threshold": thresholds.score_threshold,
        "batches": len(batches),
        "canvases": sorted({str(batch[0].place.canvas) for batch in batches}),
        "stages": stage_tally.report(),
    }
    return Verdict([*stage_tally.figures(), *tally.figures(), *alone.figures()], report)


def largest_batch_of(flavour: Flavour) -> int:
    """The largest batch to try on a CPU, where NMS of the tensor flavour takes seconds an image."""
    return LARGEST_BATCH if flavour == "cpu" else 2


def batches_for(flavour: Flavour, batches: list[list[Placed]]) -> list[list[Placed]]:
    """Those to compare a new graph on: of the tensor flavour, which takes its time on a CPU and has
    the same network, the one with the fewest pixels.
    """
    return batches if flavour == "cpu" else [min(batches, key=_pixels_of)]


def _pixels_of(batch: Sequence[Placed]) -> int:
    canvas = batch[0].place.canvas
    return canvas.height * canvas.width * len(batch)


def comparable(found: int, thresholds: Thresholds) -> Thresholds:
    """The thresholds to compare at, where those given find so many detections in a few pictures.

    A model of other things than are drawn, or an untrained one, may find next to nothing, and then
    next to nothing would be compared: what it believes most must agree as well.
    """
    if found >= LEAST_DETECTIONS:
        return thresholds
    return thresholds.model_copy(update={"score_threshold": 0.0})


def smallest_canvas(batches: Sequence[Sequence[Placed]]) -> Canvas:
    """Of those that pictures of `batches` lie on."""
    return min((batch[0].place.canvas for batch in batches), key=lambda c: c.height * c.width)
