"""Stage by stage, how far a graph departs from its reference: logits, deltas, candidates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from export.contract import CANDIDATES, DELTAS, LEAST_LOGIT, LOGITS, STAGES
from export.engines.parity import BOUNDS, Bounds, Differences, Evidence
from export.engines.session import Detections
from export.figures import Figure
from export.inputs import Placed
from export.manifest import Precision, Thresholds
from export.plain_session import session_of
from export.reference import Seen
from model.geometry import LEVELS


class StageBounds(NamedTuple):
    """What a precision may change in the network's outputs, as shares of their spread.

    The spread is the standard deviation of the reference's values on the level where it is most:
    a level that never sees an object hardly varies, and need not be more exact for that. `worst`:
    of any value; `mean`: on average. `candidates`: what share of them may be on one side alone.
    """

    worst: float
    mean: float
    candidates: float
    least_logit: float = -np.inf
    """Class logits below it count as if they were it."""
    rounding: float = 0.0
    """How far storing a value in the precision may move it, as a share of it. Counts for nothing:
    class logits all near the prior's -4.6 may spread by no more than half precision resolves."""


STAGE_BOUNDS: dict[Precision, StageBounds] = {
    "fp32": StageBounds(worst=1e-3, mean=1e-4, candidates=0.0),
    # Half precision on the blood cells: worst .09, mean .005; bfloat16: worst .83, mean .05.
    # INT8 of the tests' untrained detector: mean .18.
    "fp16": StageBounds(worst=0.5, mean=0.02, candidates=0.05, rounding=2**-11),
    "bf16": StageBounds(worst=np.inf, mean=0.2, candidates=0.2),
    "int8": StageBounds(worst=np.inf, mean=0.3, candidates=0.2, least_logit=LEAST_LOGIT),
    "fp8": StageBounds(worst=np.inf, mean=0.3, candidates=0.2),
}


class Stages:
    """A graph's inner values for a batch; `names` are those that it has, in the graph's order."""

    def __init__(self, graph: bytes) -> None:
        proto = onnx.load_from_string(graph)
        self.names = stages_in(proto)
        del proto.graph.output[:]  # what comes after the candidates is not computed
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.names)
        self._session = session_of(proto.SerializeToString()) if self.names else None

    def look(self, entry: Placed, thresholds: Thresholds) -> dict[str, NDArray[Any]]:
        """The values for one picture, without the batch dimension."""
        if self._session is None:
            return {}
        feed = entry.feed
        given = {part.name for part in self._session.get_overridable_initializers()}
        for name in ("score_threshold", "iou_threshold"):
            if name in given:
                feed[name] = np.array([getattr(thresholds, name)], np.float32)
        values = self._session.run(self.names, feed)
        return {name: value[0] for name, value in zip(self.names, values, strict=True)}


@dataclass
class Departure:
    """How far one tensor lies from the reference's, over pictures, beyond `rounding`."""

    rounding: float = 0.0
    worst: float = 0.0
    total: float = 0.0
    count: int = 0
    spread: float = 0.0

    def add(self, expected: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        """Compares one picture's values, same shape."""
        apart = np.abs(found.astype(np.float32) - expected)
        if self.rounding:
            apart = np.maximum(apart - self.rounding * np.abs(expected), 0.0)  # keeps a NaN
        self.worst = float(np.maximum(self.worst, apart.max()))  # keeps a NaN, as max() does not
        self.total += float(apart.sum(dtype=np.float64))
        self.count += apart.size
        self.spread = max(self.spread, float(expected.std()))

    @property
    def mean(self) -> float:
        """The average difference."""
        return self.total / max(1, self.count)


@dataclass
class StageTally:
    """Stage differences gathered over pictures, for a graph of a precision."""

    precision: Precision
    thresholds: Thresholds
    departures: dict[str, Departure] = field(default_factory=dict)
    candidates: Differences = field(init=False)

    def __post_init__(self) -> None:
        self.candidates = Differences(_candidate_bounds(self.precision), self._open_thresholds())

    def _open_thresholds(self) -> Thresholds:
        """Candidates have met neither NMS nor the cap."""
        most = self.thresholds.pre_nms_top_k * len(LEVELS)
        nothing = {"max_detections": most, "iou_threshold": np.inf}
        return self.thresholds.model_copy(update=nothing)

    def add(self, seen: Seen, found: dict[str, NDArray[Any]]) -> Evidence | None:
        """Compares one picture; returns the candidates of both, if the graph tells its own."""
        bounds = STAGE_BOUNDS[self.precision]
        for name, level in seen.tensors.items():
            if name in found:
                floor = bounds.least_logit if name in LOGITS else -np.inf
                departure = self.departures.setdefault(name, Departure(bounds.rounding))
                departure.add(np.maximum(level, floor), np.maximum(found[name], floor))
        if not seen.candidates or not set(CANDIDATES) <= found.keys():
            return None
        top_k = self.thresholds.pre_nms_top_k
        cuts = [float(level.scores[-1]) for level in seen.candidates if len(level) == top_k]
        merged = _merged(seen.candidates)
        width, height = (merged.boxes[:, 2:] - merged.boxes[:, :2]).T
        boxes, scores, classes = (found[name] for name in CANDIDATES)
        theirs = Detections(boxes, scores, classes).where(scores > 0)
        evidence = Evidence(merged.where((width > 0) & (height > 0)), theirs, cuts)
        self.candidates.compare(*evidence[:2], evidence)
        return evidence

    def figures(self) -> list[Figure]:
        """In the order of the graph, so that the first one past its bound is where it departs."""
        bounds = STAGE_BOUNDS[self.precision]
        figures = []
        for names in (LOGITS, DELTAS):
            parts = {name: self.departures[name] for name in names if name in self.departures}
            spread = max((part.spread for part in parts.values()), default=0.0)
            for name, part in parts.items():
                worst, mean = share_of(part.worst, spread), share_of(part.mean, spread)
                figures += [
                    Figure(told(name), "worst_of_spread", worst, bounds.worst),
                    Figure(told(name), "mean_of_spread", mean, bounds.mean),
                ]
        if self.candidates.images:
            figures += self.candidates.figures("candidates")
        return figures

    def report(self) -> dict[str, Any]:
        """For the manifest: worst, mean and spread of each tensor, and the candidates' figures."""
        report: dict[str, Any] = {
            name: {"worst": part.worst, "mean": part.mean, "spread": part.spread}
            for name, part in self.departures.items()
        }
        if self.candidates.images:
            report["candidates"] = self.candidates.report()
        return report


def share_of(value: float, spread: float) -> float:
    """A difference as a share of a spread; infinite where nothing should differ at all."""
    return value / spread if spread else np.inf if value else 0.0


def stages_in(proto: onnx.ModelProto) -> tuple[str, ...]:
    """The stages that a graph names, in its order; an older export names none."""
    inner = {output for node in proto.graph.node for output in node.output}
    return tuple(name for name in STAGES if name in inner)


def told(name: str) -> str:
    """`logits_p3` as a person reads it: logits P3."""
    return name.replace("_p", " P")


def _candidate_bounds(precision: Precision) -> Bounds:
    rule = BOUNDS[precision]
    share = STAGE_BOUNDS[precision].candidates
    return replace(rule, unmatched=share, mean_iou=0.0, matched=0.0)


def _merged(levels: list[Detections]) -> Detections:
    return Detections(
        np.concatenate([level.boxes for level in levels]),
        np.concatenate([level.scores for level in levels]),
        np.concatenate([level.classes for level in levels]),
    )
