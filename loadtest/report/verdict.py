"""What a study says in one sentence, and whether that is good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from loadtest.report.sheets import CLOSED, Seen, by_scale, one_caller
from loadtest.report.words import (
    count_words,
    list_words,
    ms_words,
    number_words,
    range_words,
    share_words,
)
from loadtest.traffic.summary import all_ms, percentiles_of
from loadtest.traffic.trial import Study

Tone = Literal["well", "note", "warning", "error"]


class Verdict(NamedTuple):
    """A sentence, and how it is meant."""

    sentence: str
    tone: Tone


def verdict_of(study: Study, seen: Sequence[Seen]) -> Verdict:
    """The answer that the command was run for."""
    there = [one for one in seen if one.summary.ok]
    if not there:
        asked = sum(one.summary.sent for one in seen)
        return Verdict(f"No answer to any of {count_words(asked, 'request')}.", "error")
    told = [one for one in there if one.summary.percentiles_ms]
    if study.kind == "scales":
        return _of_scales(told)
    if study.kind == "max-qps":
        return _of_search(study)
    if study.kind == "mlperf":
        return _of_mlperf(study, there[0])
    if len(seen) > 1 and told:
        return _of_rates(study, seen, told)
    return _of_run(study, (told or there)[0])


def _of_run(study: Study, one: Seen) -> Verdict:
    summary, load = one.summary, one.trial.load
    asked = (
        # Poisson arrivals are fewer or more than their rate: that is not the server's doing.
        f" of {number_words(summary.sent / load.seconds)} sent at a rate of {load.rate:g}"
        if load.rate
        else f" to {count_words(load.callers or 1, 'caller')}" + f" ({CLOSED})" * one.is_closed
    )
    times = ", ".join(
        f"p{percent:g} {ms_words(interval.value)}"
        for percent, interval in summary.percentiles_ms.items()
        if percent in (50.0, 99.0)
    )
    if not times and summary.slowest_ms is not None:
        times = f"the only answer took {ms_words(summary.slowest_ms)}"
    said = f"{number_words(summary.answered_per_s.value)} answers/s{asked}: {times}"
    if summary.failed:
        said += f"; {share_words(summary.failed / summary.sent)} failed"
    if study.p99_ms is None:
        return Verdict(f"{said}.", "warning" if summary.failed else "note")
    # Who was never answered has waited too: a server does not meet a target by refusing.
    p99 = percentiles_of(all_ms(one.trial.samples)).get(99.0)
    if p99 is None:
        return Verdict(f"{said}. Too few requests to say anything about p99.", "warning")
    met = p99.value <= study.p99_ms
    sure = p99.high <= study.p99_ms or p99.low > study.p99_ms
    word = "meets" if met else "misses"
    how = "" if sure else f", which may be chance: the range of their p99 is {range_words(p99)}"
    return Verdict(
        f"{said}. It {word} the target of {study.p99_ms:g} ms for 99% of all requests{how}.",
        ("well" if sure else "warning") if met else "error",
    )


def _of_rates(study: Study, seen: Sequence[Seen], told: Sequence[Seen]) -> Verdict:
    ordered = sorted(told, key=lambda one: one.summary.answered_per_s.value)
    ends = [ordered[0], *ordered[1:][-1:]]
    percent = max(set.intersection(*(set(one.summary.percentiles_ms) for one in ends)))
    said = (f"{ms_words(one.summary.percentiles_ms[percent].value)} at {one.name}" for one in ends)
    sentence = f"p{percent:g} is {' and '.join(said)}."
    if study.p99_ms is None:
        return Verdict(sentence, "note")
    p99s = {one.name: percentiles_of(all_ms(one.trial.samples)).get(99.0) for one in seen}
    missed = [name for name, p99 in p99s.items() if p99 is None or p99.value > study.p99_ms]
    target = f"the target of {study.p99_ms:g} ms for 99% of all requests"
    if not missed:
        return Verdict(f"{sentence} Each rate meets {target}.", "well")
    unsure = "" if all(p99s.values()) else "; fewer than 100 requests have not met it"
    return Verdict(f"{sentence} Not within {target}: {list_words(missed)}{unsure}.", "error")


def _of_scales(seen: Sequence[Seen]) -> Verdict:
    alone = {scale: one for scale, own in by_scale(seen).items() if (one := one_caller(own))}
    if not alone:
        return Verdict("Too few answers to one caller to tell an idle server's latency.", "warning")
    ends = " to ".join(
        f"{ms_words(alone[scale].summary.percentiles_ms[50.0].value)} at scale {scale}"
        for scale in dict.fromkeys([min(alone), max(alone)])
    )
    return Verdict(f"An idle server's median latency is {ends} ({CLOSED}).", "note")


def _of_search(study: Study) -> Verdict:
    rate, low, high = (study.found.get(name) for name in ("max_qps", "low", "high"))
    target = f"99% of all requests within {study.p99_ms:g} ms"
    if not rate:
        return Verdict(f"No rate was found at which the server answers {target}.", "error")
    sure = f"surely {number_words(low)}" if low else "but a longer search has to make sure"
    most = f"surely less than {number_words(high)}" if high else ""
    between = ", ".join(filter(None, [sure, most]))
    return Verdict(f"{number_words(rate)} requests/s: {target}; {between}.", "well")


def _of_mlperf(study: Study, one: Seen) -> Verdict:
    said = _of_run(replace(study, p99_ms=None), one).sentence
    tone: Tone = "well" if study.found.get("valid") else "error"
    return Verdict(f"MLPerf {study.facts.get('MLPerf', '')}. {said}", tone)
