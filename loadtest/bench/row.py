"""What `retinaserve bench` measured: a row for each engine at each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from export.manifest import Precision
from loadtest.bench.paper import TABLE_1E, paper_point
from loadtest.bench.prepared import Prepared
from loadtest.bench.spread import Spread
from loadtest.bench.stages import Shares, shares_of
from loadtest.bench.subject import Subject
from loadtest.bench.worker import Contender, Took


@dataclass(frozen=True)
class Setting:
    """What all engines run at a time: a scale, and images in a run."""

    scale: int
    batch: int


@dataclass(frozen=True)
class Facts:
    """What a contender told of itself at a setting, beside its times. `flops` of one image."""

    shares: Shares
    flops: int | None
    memory_mb: float | None


@dataclass(frozen=True)
class Row:
    """One engine at one setting. Times are ms per image; `session` is the engine's."""

    model: str
    engine: str
    precision: Precision
    scale: int
    canvas: str
    batch: int
    rounds: int
    total: Spread
    preprocess: Spread
    session: Spread
    finish: Spread
    images_per_s: float
    detections: float
    stages: Shares = field(default_factory=dict)
    """The share of each stage that could be told apart."""
    gflop: float | None = None
    """Of one image."""
    gflop_per_s: float | None = None
    of_peak: float | None = None
    memory_mb: float | None = None
    ap: float | None = None
    """0 to 1, of the model's own data, by the bundle's manifest."""
    paper_of: str = ""
    """The backbone, where the paper has figures of it."""
    paper_ms: int | None = None
    paper_ap: float | None = None
    """In points, of COCO test-dev, by the paper: not of these weights."""


@dataclass(frozen=True)
class Ratio:
    """How many times as fast `fast` is as `slow`, by the engines' times of each round."""

    model: str
    scale: int
    batch: int
    fast: str
    slow: str
    times: Spread


def row_of(
    subject: Subject,
    contender: Contender,
    prepared: Prepared,
    setting: Setting,
    took: Sequence[Took],
    facts: Facts,
) -> Row:
    """The row of a contender."""
    preprocess_ms = prepared.preprocess.median
    session = Spread.of([run.session for run in took])
    finish = Spread.of([run.finish for run in took])
    total = Spread.of([preprocess_ms + run.session + run.finish for run in took])
    stages = shares_of(
        {
            "preprocess": preprocess_ms,
            **{stage: share * session.median for stage, share in facts.shares.items()},
            "finish": finish.median,
        }
    )
    gflop = None if facts.flops is None else facts.flops / 1e9
    rate = None if gflop is None else 1000.0 * gflop / session.median
    point = paper_point(subject.backbone or "", setting.scale)
    return Row(
        model=subject.name,
        engine=contender.engine,
        precision=contender.precision,
        scale=setting.scale,
        canvas=str(prepared.places[0].canvas),
        batch=setting.batch,
        rounds=len(took),
        total=total,
        preprocess=prepared.preprocess,
        session=session,
        finish=finish,
        images_per_s=round(1000.0 / total.median, 2),
        detections=sum(run.found for run in took) / len(took),
        stages={stage: round(share, 4) for stage, share in stages.items()},
        gflop=_rounded(gflop, 3),
        gflop_per_s=_rounded(rate, 1),
        memory_mb=_rounded(facts.memory_mb, 1),
        ap=subject.ap(setting.scale, contender.precision),
        paper_of=subject.backbone if subject.backbone in TABLE_1E else "",
        paper_ms=point.ms if point else None,
        paper_ap=point.ap if point else None,
    )


def against_peak(row: Row, peaks: Mapping[Precision, float]) -> Row:
    """The row with its share of the peak of its precision, where there is one; in GFLOP/s."""
    peak = peaks.get(row.precision)
    if peak is None or row.gflop_per_s is None:
        return row
    return replace(row, of_peak=round(row.gflop_per_s / peak, 3))


def ratios_of(
    model: str, setting: Setting, names: Sequence[str], took: Sequence[Sequence[Took]]
) -> list[Ratio]:
    """The first engine against each of the others."""
    return [
        Ratio(
            model=model,
            scale=setting.scale,
            batch=setting.batch,
            fast=names[0],
            slow=other,
            times=Spread.of([b.session / a.session for a, b in zip(took[0], own, strict=True)]),
        )
        for other, own in zip(names[1:], took[1:], strict=True)
    ]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
