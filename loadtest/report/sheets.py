"""The figures of a study as sheets of text: what the terminal and the page show alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.report.words import count_words, ms_words, number_words, range_words, share_words
from loadtest.traffic.confidence import Interval
from loadtest.traffic.sample import Outcome
from loadtest.traffic.summary import Summary, summary_of
from loadtest.traffic.trial import Study, Trial

OUTCOMES = {
    Outcome.OK: "answered",
    Outcome.REFUSED: "refused",
    Outcome.LATE: "too late",
    Outcome.CLIENT_ERROR: "the request was wrong",
    Outcome.SERVER_ERROR: "the server failed",
    Outcome.CONNECTION: "the connection failed",
    Outcome.MALFORMED: "not what the protocol says",
}

FOUND = {
    "max_qps": "highest rate within the target, requests/s",
    "low": "no doubt about rates up to",
    "high": "no doubt that it is too much from",
    "capacity": "answers/s of a busy server",
}
"""What a study calls its answers, in words."""

CLOSED = "closed loop: callers wait for their answers"
"""What has to be said of a latency that stalls are hardly seen in."""

MS_COLUMNS = (50.0, 90.0, 99.0)
"""Percentiles that a table of runs has columns for."""


@dataclass(frozen=True)
class Sheet:
    """Rows of text below their heads. The first column says what a row is about."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Seen:
    """A trial with its figures."""

    trial: Trial
    summary: Summary

    @property
    def is_open(self) -> bool:
        """Whether its requests came whatever the server did."""
        return self.trial.load.rate is not None

    @property
    def is_closed(self) -> bool:
        """Whether each caller waited for its answer before it asked again."""
        return self.trial.load.callers is not None

    @property
    def name(self) -> str:
        """What sets it apart from a study's other trials, short."""
        load, scale = self.trial.load, self.trial.scale
        asked = f"{load.rate:.4g}/s" if self.is_open else count_words(load.callers or 1, "caller")
        if self.is_open and load.process != "poisson":
            asked += f" {load.process}"
        return asked if scale is None else f"scale {scale}, {asked}"


def seen_of(study: Study) -> list[Seen]:
    """A study's trials with their figures, in their order."""
    return [Seen(trial, summary_of(trial, study.p99_ms)) for trial in study.trials]


def sheets_of(study: Study, seen: Sequence[Seen]) -> list[Sheet]:
    """All that is worth a table; a single run is told in more detail."""
    if not seen:
        return []
    if len(seen) > 1:
        main = [_scales(seen)] if study.kind == "scales" else [_runs(seen)]
        return [*main, *_found(study), *_failures(seen)]
    (only,) = seen
    return [*_found(study), _latency(only), *_in_time(study, only), *_details(study, only)]


def _runs(seen: Sequence[Seen]) -> Sheet:
    head = ["run", "loop", "requests", "answered/s", *(f"p{p:g}, ms" for p in MS_COLUMNS)]
    head += ["p99 lies in", "in time", "failed"]
    rows = [
        [
            one.name,
            "closed" if one.is_closed else "open",
            f"{one.summary.sent:,}",
            number_words(one.summary.answered_per_s.value),
            *(_value(one.summary.percentiles_ms.get(percent)) for percent in MS_COLUMNS),
            _range(one.summary.percentiles_ms.get(99.0)),
            "-" if one.summary.good is None else share_words(one.summary.good.value),
            failed_words(one.summary),
        ]
        for one in seen
    ]
    return _without_dashes(Sheet("Runs", head, rows))


def _scales(seen: Sequence[Seen]) -> Sheet:
    """A row for each scale: latency with one caller, and what many callers get."""
    rows = []
    for scale, own in by_scale(seen).items():
        alone, busy = one_caller(own), many_callers(own)
        times = alone.summary.percentiles_ms if alone else {}
        answered = busy.summary.answered_per_s if busy and busy.summary.sent else None
        rows.append(
            [
                str(scale),
                _value(times.get(50.0)),
                _range(times.get(50.0)),
                _value(times.get(99.0)),
                _value(answered),
                _range(answered),
                *(_points(ap) for ap in accuracy(own)),
                f"{sum(one.summary.failed for one in own):,}",
            ]
        )
    head = ["scale", "p50, ms", "lies in", "p99, ms", "answers/s", "lies in", "AP", "AP50"]
    return _without_dashes(Sheet(f"By scale, {CLOSED}", [*head, "failed"], rows))


def _latency(only: Seen) -> Sheet:
    summary = only.summary
    rows = [
        [f"p{percent:g}", number_words(one.value), range_words(one)]
        for percent, one in summary.percentiles_ms.items()
    ]
    if summary.mean_ms:
        rows.insert(0, ["mean", number_words(summary.mean_ms.value), range_words(summary.mean_ms)])
    if summary.slowest_ms is not None:
        rows.append(["slowest", number_words(summary.slowest_ms), ""])
    title = "Latency of the answers" + f", {CLOSED}" * only.is_closed
    return Sheet(title, ["percentile", "ms", "lies in (95%)"], rows)


def _in_time(study: Study, only: Seen) -> Iterator[Sheet]:
    """Goodput, where there is a target."""
    good, per_s = only.summary.good, only.summary.good_per_s
    if good is not None and per_s is not None:
        rows = [
            [
                "in time",
                share_words(good.value),
                f"{share_words(good.low)}-{share_words(good.high)}",
            ],
            ["in time, per s", number_words(per_s.value), range_words(per_s)],
        ]
        title = f"Requests answered within {study.p99_ms:g} ms"
        yield Sheet(title, ["goodput", "figure", "lies in (95%)"], rows)


def _details(study: Study, only: Seen) -> Iterator[Sheet]:
    """Stages, outcomes, batches and servers of a single run."""
    urls = dict(enumerate(study.facts.get("servers", "").split(", ")))
    summary = only.summary
    if summary.stages:
        rows = [
            [name, *map(number_words, (stage.mean_ms, stage.p50_ms, stage.p99_ms))]
            for name, stage in summary.stages.items()
        ]
        yield Sheet("Stages in the server", ["stage", "mean, ms", "p50, ms", "p99, ms"], rows)
    rows = [
        [OUTCOMES[outcome], f"{count:,}", share_words(count / summary.sent)]
        for outcome, count in summary.outcomes.items()
    ]
    yield Sheet("Outcomes", ["outcome", "requests", "share"], rows)
    yield from _failures([only])
    if summary.batches:
        rows = [
            [str(size), f"{count:,}", share_words(count / sum(summary.batches.values()))]
            for size, count in sorted(summary.batches.items())
        ]
        yield Sheet("Batch that an answer was in", ["size", "answers", "share"], rows)
    if len(summary.servers) > 1:
        rows = [
            [urls.get(number, str(number)), f"{server.sent:,}", f"{server.ok:,}"]
            for number, server in summary.servers.items()
        ]
        yield Sheet("Servers", ["server", "requests", "answered"], rows)
    rows = [
        ["late by, p99", ms_words(summary.lag_p99_ms)],
        ["cores used", f"{summary.client_cores:.2f}"],
    ]
    yield Sheet("The load test itself", ["", ""], rows)


def _failures(seen: Sequence[Seen]) -> Iterator[Sheet]:
    """Why requests failed, over all runs."""
    reasons: dict[str, int] = {}
    for one in seen:
        for why, count in one.summary.reasons.items():
            reasons[why] = reasons.get(why, 0) + count
    if reasons:
        ordered = sorted(reasons.items(), key=lambda item: -item[1])
        yield Sheet(
            "Why requests failed", ["reason", "requests"], [[w, f"{n:,}"] for w, n in ordered]
        )


def _found(study: Study) -> Iterator[Sheet]:
    rows = [
        [FOUND.get(name, name), number_words(value)]
        for name, value in study.found.items()
        if name != "valid"
    ]
    if rows:
        yield Sheet("Found", ["", ""], rows)


def by_scale(seen: Sequence[Seen]) -> dict[int, list[Seen]]:
    """The trials of each scale, ascending; without those of no certain scale."""
    scales = sorted({one.trial.scale for one in seen if one.trial.scale is not None})
    return {scale: [one for one in seen if one.trial.scale == scale] for scale in scales}


def one_caller(seen: Sequence[Seen]) -> Seen | None:
    """The trial of one caller: what an idle server does; None if it was not run."""
    return next((one for one in seen if one.trial.load.callers == 1), None)


def many_callers(seen: Sequence[Seen]) -> Seen | None:
    """The trial of more callers: what a busy server does; None if it was not run."""
    return next((one for one in seen if (one.trial.load.callers or 0) > 1), None)


def accuracy(seen: Sequence[Seen]) -> tuple[float | None, float | None]:
    """AP and AP50 of trials of one scale, 0 to 1, where one of them has been asked."""
    aps = [(one.trial.ap, one.trial.ap50) for one in seen if one.trial.ap is not None]
    return aps[0] if aps else (None, None)


def failed_words(summary: Summary) -> str:
    """How many failed, and their share where there are any."""
    if not summary.failed:
        return "0"
    return f"{summary.failed:,} ({share_words(summary.failed / summary.sent)})"


def _value(interval: Interval | None) -> str:
    return "-" if interval is None else number_words(interval.value)


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else range_words(interval)


def _points(ap: float | None) -> str:
    return "-" if ap is None else f"{100 * ap:.1f}"


def _without_dashes(sheet: Sheet) -> Sheet:
    """The sheet without columns in which nothing is known."""
    kept = [n for n in range(len(sheet.head)) if any(row[n] != "-" for row in sheet.rows)]
    return Sheet(
        sheet.title,
        [sheet.head[n] for n in kept],
        [[row[n] for n in kept] for row in sheet.rows],
    )
