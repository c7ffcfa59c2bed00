"""Which plots a study has data for, each with its words and its legend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from loadtest.report.plots import SERIES, curves, distribution, over_time, trade_off
from loadtest.report.sheets import Seen, accuracy, by_scale, many_callers, one_caller
from loadtest.report.stacks import kind_of, stacks, stages_of
from loadtest.report.words import ms_words, number_words
from loadtest.traffic.confidence import Interval
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Study
from model.page.markup import tag

LEAST = 10
"""Answers that a distribution takes."""

SLOW = 0.1
"""Of the answers, the slowest that are looked at by themselves."""

PERCENTS = (50.0, 90.0, 99.0)
"""That have a line each."""


def figures_of(study: Study, seen: Sequence[Seen]) -> Iterator[Element]:
    """The plots, most telling first."""
    there = [one for one in seen if one.summary.percentiles_ms]
    named = {one.name: one for one in there}
    if study.kind == "scales":
        scales = by_scale(there)
        yield from _by_scale(scales)
        named = {
            f"scale {scale}": alone
            for scale, own in scales.items()
            if (alone := one_caller(own)) is not None
        }
    elif len(opened := [one for one in there if one.is_open]) > 1:
        opened.sort(key=lambda one: one.trial.load.rate or 0.0)
        yield from _by_load(study, opened)
        named = {one.name: one for one in opened}
    yield from _distribution(study, named)
    if len(seen) == 1 and seen[0].summary.sent:
        yield _over_time(seen[0], "Latency over time")
    yield from _stages(named)


def runs_over_time(seen: Sequence[Seen]) -> Iterator[Element]:
    """A plot of each of several runs."""
    if len(seen) > 1:
        yield from (_over_time(one, one.name) for one in seen if one.summary.sent)


def _by_load(study: Study, seen: Sequence[Seen]) -> Iterator[Element]:
    rates = {one.trial.load.rate or 0.0: one for one in seen}
    lines = _percentiles(rates)
    yield _figure(
        "Latency by load",
        "Requests come whatever the server does. " + BANDS,
        curves(
            _told("Latency in ms by requests asked a second", lines),
            "requests/s asked",
            lines,
            marks={"found": rate} if (rate := study.found.get("max_qps")) else {},
            levels={} if study.p99_ms is None else {f"target {study.p99_ms:g} ms": study.p99_ms},
        ),
        _keys(lines),
    )
    answered = {"answered": {rate: one.summary.answered_per_s for rate, one in rates.items()}}
    yield _figure(
        "What is answered of what is asked",
        "Where it leaves the broken line, the server can do no more.",
        curves(
            _told("Answers a second by requests asked a second", answered),
            "requests/s asked",
            answered,
            y_label="answers/s",
            log=False,
            diagonal=True,
        ),
    )


BANDS = "Bands hold the truth with 95% confidence; a broken line: only a longer run could tell."


def _by_scale(scales: Mapping[int, Sequence[Seen]]) -> Iterator[Element]:
    alone = {
        float(scale): one for scale, own in scales.items() if (one := one_caller(own)) is not None
    }
    lines = _percentiles(alone)
    if lines:
        yield _figure(
            "Latency by scale",
            "One caller alone, so nobody waits for anybody. " + BANDS,
            curves(
                _told("Latency in ms of one caller by scale", lines),
                "scale, px",
                lines,
                log=False,
                from_zero=False,
            ),
            _keys(lines),
        )
    busy = {
        float(scale): one.summary.answered_per_s
        for scale, own in scales.items()
        if (one := many_callers(own)) is not None
    }
    if busy:
        yield _figure(
            "Throughput by scale",
            "As many callers as keep the server busy.",
            curves(
                _told("Answers a second by scale", {"answers/s": busy}),
                "scale, px",
                {"answers/s": busy},
                y_label="answers/s",
                log=False,
                from_zero=False,
            ),
        )
    points = {
        name: {
            str(scale): (alone[scale].summary.percentiles_ms[50.0].value, ap)
            for scale, own in scales.items()
            if scale in alone and (ap := accuracy(own)[place]) is not None
        }
        for place, name in enumerate(("AP", "AP50"))
    }
    if points["AP"]:
        yield _figure(
            "Accuracy against latency",
            "By scale, with the median latency of one caller: what waiting longer buys.",
            trade_off({name: line for name, line in points.items() if line}),
            _keys(points),
        )


def _distribution(study: Study, named: Mapping[str, Seen]) -> Iterator[Element]:
    enough = [name for name, one in named.items() if one.summary.ok >= LEAST]
    if not enough:
        return
    chosen = {name: named[name] for name in _spread_out(enough)}
    ends = "; ".join(
        f"{name}, " * (len(chosen) > 1)
        + ", ".join(
            f"{percent:g}% within {ms_words(interval.value)}"
            for percent, interval in one.summary.percentiles_ms.items()
        )
        for name, one in chosen.items()
    )
    yield _figure(
        "How the latencies are distributed",
        "Each nine takes as much room as the one before. Of the answers: a failure has no latency.",
        distribution(
            f"Share of the answers by latency: {ends}",
            {name: _latencies_ms(one) for name, one in chosen.items()},
            study.p99_ms,
        ),
        _keys(chosen) if len(chosen) > 1 else {},
    )


def _over_time(one: Seen, title: str) -> Element:
    summary = one.summary
    told = (
        f"Latency of each request over {one.trial.load.seconds:.0f} s: {summary.ok:,} answered, "
        f"{summary.failed:,} failed"
    )
    if summary.slowest_ms is not None:
        told += f", the slowest answer after {ms_words(summary.slowest_ms)}"
    chart = over_time(told, one.trial.samples, one.trial.load.seconds)
    keys = {"answered": "s0", "their median": "ink"}
    if summary.failed:
        keys["failed"] = "failed"
    return _figure(title, "Each dot is a request.", chart, keys)


def _stages(named: Mapping[str, Seen]) -> Iterator[Element]:
    if len(named) == 1:
        (only,) = named.values()
        answered = sorted(_answered(only), key=lambda sample: sample.latency)
        slow = answered[-max(1, round(SLOW * len(answered))) :]
        rows = {"all answers": stages_of(answered), f"the slowest {SLOW:.0%}": stages_of(slow)}
    else:
        rows = {name: stages_of(_answered(one)) for name, one in named.items()}
    rows = {name: row for name, row in rows.items() if row}
    if rows:
        names = dict.fromkeys(stage for row in rows.values() for stage in row)
        told = "; ".join(
            f"{name}: " + ", ".join(f"{stage} {ms_words(value)}" for stage, value in row.items())
            for name, row in rows.items()
        )
        yield _figure(
            "Where the time goes",
            "The server's own times, mean; the rest is network, HTTP and the load test.",
            stacks(rows, f"Mean time of each stage. {told}"),
            {name: kind_of(name) for name in names},
        )


def _percentiles(seen: Mapping[float, Seen]) -> dict[str, dict[float, Interval]]:
    """For each percentile its interval at each x, where there are samples enough."""
    lines = {
        f"p{percent:g}": {
            x: one.summary.percentiles_ms[percent]
            for x, one in seen.items()
            if percent in one.summary.percentiles_ms
        }
        for percent in PERCENTS
    }
    return {name: line for name, line in lines.items() if line}


def _told(what: str, lines: Mapping[str, Mapping[float, Interval]]) -> str:
    """What a line's ends are, for those who can't see it."""
    ends = [
        f"{name} {number_words(line[min(line)].value)} at {min(line):g}, "
        f"{number_words(line[max(line)].value)} at {max(line):g}"
        for name, line in lines.items()
        if line
    ]
    return f"{what}: {'; '.join(ends)}"


def _figure(title: str, text: str, chart: Element, keys: Mapping[str, str] = {}) -> Element:
    """A chart below its title. `keys`: the colours by what they stand for."""
    parts = [tag("h3", title), tag("p", text)]
    if keys:
        spans = (tag("span", name, class_=f"key {kind}") for name, kind in keys.items())
        parts.append(tag("p", *spans, class_="legend"))
    return tag("figure", *parts, chart)


def _keys(names: Iterable[str]) -> dict[str, str]:
    """The colours of lines by their names."""
    return dict(zip(names, SERIES, strict=False))


def _spread_out(names: Sequence[str]) -> Sequence[str]:
    """At most as many as can be told apart, the first and the last among them."""
    step = max(1.0, (len(names) - 1) / (len(SERIES) - 1))
    return [names[round(number * step)] for number in range(min(len(names), len(SERIES)))]


def _answered(one: Seen) -> list[Sample]:
    return [sample for sample in one.trial.samples if sample.outcome is Outcome.OK]


def _latencies_ms(one: Seen) -> list[float]:
    return [1e3 * sample.latency for sample in _answered(one)]
