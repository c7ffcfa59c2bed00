"""The plots of a report, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np

from loadtest.report.words import number_words, range_words
from loadtest.traffic.confidence import Interval
from loadtest.traffic.sample import Outcome, Sample
from model.page.axis import linear, logarithmic, nines
from model.page.chart import Chart, Point

SERIES = ("s0", "s3", "s1", "s2", "s4", "s5")
"""Colours of lines, by the page's style."""

STEPS = 300
"""Points of a line at most: it looks the same with more."""

CLOUD = 1_500
"""Requests that are drawn one by one at most."""

SLOWEST = 300
"""Of those, the slowest: what is looked for."""

BINS = 40
"""Parts of a run that have a median each, at most."""

IN_BIN = 10
"""Requests that a median takes at least."""

LEAST_MS = 0.01
"""A logarithm needs some time; nothing over HTTP is faster."""


def distribution(
    told: str, latencies_ms: Mapping[str, Sequence[float]], target_ms: float | None
) -> Element:
    """How many of the answers were faster than what, for each line by name: its tail up close."""
    lines = {}
    for name, given in latencies_ms.items():
        values = np.maximum(np.sort(given), LEAST_MS)
        # Equal steps on the axis: ever more of the few slowest.
        tail = 10 ** -np.linspace(0, math.log10(len(values)), min(STEPS, len(values)))
        ranks = np.unique(np.floor((1 - tail) * len(values)).astype(int).clip(0, len(values) - 1))
        lines[name] = [Point(float(values[rank]), rank / len(values)) for rank in ranks.tolist()]
    most = max(points[-1].y for points in lines.values())
    xs = [point.x for points in lines.values() for point in points]
    x = logarithmic("latency, ms", [*xs, *filter(None, [target_ms])])
    chart = Chart(told, x, nines("answers that were faster", max(most, 0.5)))
    if target_ms is not None:
        chart.steep(target_ms, "target", "target")
    for kind, points in zip(SERIES * len(lines), lines.values(), strict=False):
        chart.line(points, kind)
    return chart.element()


def over_time(told: str, samples: Sequence[Sample], seconds: float) -> Element:
    """Each request by its intended start, and the median of each part of the run."""
    answered = [sample for sample in samples if sample.outcome is Outcome.OK]
    failed = [sample for sample in samples if sample.outcome is not Outcome.OK]
    shown = _chosen(answered), _chosen(failed)
    x = linear("seconds, by the intended start", [0.0, seconds])
    y = logarithmic("latency, ms", [_ms(sample) for some in shown for sample in some])
    chart = Chart(told, x, y)
    for some, kind in zip(shown, ("s0", "failed"), strict=True):
        chart.cloud([Point(sample.intended, _ms(sample)) for sample in some], kind)
    chart.line(_medians(answered), "ink")
    return chart.element()


def curves(
    told: str,
    x_label: str,
    lines: Mapping[str, Mapping[float, Interval]],
    *,
    y_label: str = "latency, ms",
    marks: Mapping[str, float] = {},
    levels: Mapping[str, float] = {},
    log: bool = True,
    from_zero: bool = True,
    diagonal: bool = False,
) -> Element:
    """A line for each name through what was measured at each x, within its intervals.

    An interval without an upper end is a broken line upwards. `marks`: words at places of x,
    `levels`: at places of y. `log`: of y; `from_zero`: of x. `diagonal`: where y is x.
    """
    seen = [interval for line in lines.values() for interval in line.values()]
    ys = [value for one in seen for value in (one.value, one.low, one.high) if math.isfinite(value)]
    ys += levels.values()
    xs = [*(at for line in lines.values() for at in line), *marks.values()]
    x = linear(x_label, xs, zero=from_zero)
    chart = Chart(told, x, logarithmic(y_label, ys) if log else linear(y_label, ys))
    for word, at in marks.items():
        chart.steep(at, word, "found")
    for word, at in levels.items():
        chart.level(at, word, "target")
    if diagonal:
        chart.whisker(Point(0.0, 0.0), Point(*[min(max(xs), max(ys))] * 2), "ink")
    for kind, (name, line) in zip(SERIES * len(lines), lines.items(), strict=False):
        ordered = sorted(line.items())
        for (before, one), (after, other) in pairwise(ordered):
            if math.isfinite(one.high) and math.isfinite(other.high):
                chart.band(
                    [Point(before, one.low), Point(after, other.low)],
                    [Point(before, one.high), Point(after, other.high)],
                    kind,
                )
        for at, one in ordered:
            if not math.isfinite(one.high):
                chart.whisker(Point(at, one.value), Point(at, one.high), kind)
        chart.line([Point(at, one.value) for at, one in ordered], kind)
        words = {Point(at, one.value): f"{name} at {at:g}: {_in_full(one)}" for at, one in ordered}
        chart.dots(words, kind)
    return chart.element()


def trade_off(points: Mapping[str, Mapping[str, tuple[float, float]]]) -> Element:
    """Accuracy against latency: lines by name, their points (ms, AP 0 to 1) by what they are."""
    everything = [point for line in points.values() for point in line.values()]
    x = linear("latency at an idle server, ms", [at for at, _ in everything])
    y = linear("AP, points", [100 * ap for _, ap in everything], zero=False)
    chart = Chart("Accuracy against latency by scale", x, y)
    for kind, (name, line) in zip(SERIES * len(points), points.items(), strict=False):
        chart.line([Point(at, 100 * ap) for at, ap in line.values()], kind)
        chart.dots(
            {
                Point(at, 100 * ap): f"{word}: {name} {100 * ap:.1f}, {number_words(at)} ms"
                for word, (at, ap) in line.items()
            },
            kind,
        )
        for word, (at, ap) in line.items():
            chart.word(Point(at, 100 * ap), word)
    return chart.element()


def _in_full(one: Interval) -> str:
    return f"{number_words(one.value)} ({range_words(one)})"


def _ms(sample: Sample) -> float:
    return max(LEAST_MS, 1e3 * sample.latency)


def _chosen(samples: Sequence[Sample]) -> Sequence[Sample]:
    """All samples, or the slowest and some of the others, evenly through the run."""
    if len(samples) <= CLOUD:
        return samples
    slowest = sorted(samples, key=lambda sample: sample.latency)[-SLOWEST:]
    return [*samples[:: math.ceil(len(samples) / (CLOUD - SLOWEST))], *slowest]


def _medians(answered: Sequence[Sample]) -> list[Point]:
    """The median of each of as many equal parts as the samples, in order, are enough for."""
    count, parts = len(answered), min(BINS, len(answered) // IN_BIN)
    cuts = [answered[n * count // parts : (n + 1) * count // parts] for n in range(parts)]
    return [
        Point(
            float(np.mean([sample.intended for sample in cut])),
            float(np.median([_ms(sample) for sample in cut])),
        )
        for cut in cuts
    ]
