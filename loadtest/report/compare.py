"""What two studies differ in, by how much, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

from loadtest.report.sheets import Seen, seen_of
from loadtest.report.words import list_words
from loadtest.traffic.confidence import Interval, difference, share_interval
from loadtest.traffic.sample import Outcome
from loadtest.traffic.trial import Study
from model.errors import InputError

LEAST = 0.05
"""A change of a time or a rate that matters, as a share: less is for nobody to act on."""

LEAST_FAILED = 0.001
"""A change of the share of failed requests that matters."""

LEAST_AP = 0.005
"""A change of AP that matters: half a point."""

DOUBT = 0.05
"""How likely any of a comparison's changes is to be called one by chance, at most."""

PERCENTS = (50.0, 90.0, 99.0)

UNTOLD = ("when", "command")
"""Facts that differ between any two studies."""

ASKED = ("protocol", "bodies", "query", "arrivals", "warm-up", "timeout", "pictures")
"""Facts of what was asked; where they differ, so may the figures, of one and the same server."""

TOGETHER = "all runs"

VALIDITY = "MLPerf's verdict"
"""A figure that is 1 or 0: VALID or INVALID."""

NEXT_TO_NOTHING = 1e-9
"""What 0 stands for in a ratio."""

Meaning = Literal["better", "worse", "small", "noise", "same", "unknown"]


@dataclass(frozen=True)
class Change:
    """A figure of a run, before and after; of several runs together the two are None.

    `by`: as a share of what it was; or, if `plain`, the difference. `least`: what matters of that.
    `less_is_better`: as of times.
    """

    run: str
    figure: str
    before: float | None
    after: float | None
    by: Interval
    least: float = LEAST
    less_is_better: bool = True
    plain: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether both ends are known: a share of what it was is never less than -100%."""
        return bounded(self.by) and (self.plain or self.by.low > -1.0 or self.by.high < 0.0)

    @property
    def meaning(self) -> Meaning:
        """noise: chance makes such a change; small: it is there, and does not matter."""
        if self.by.low == self.by.high == 0.0:
            return "same"
        if self.by.low <= 0.0 <= self.by.high:
            return "noise" if self.is_bounded else "unknown"
        if abs(self.by.value) < self.least:
            return "small"
        return "better" if (self.by.value < 0) == self.less_is_better else "worse"


@dataclass(frozen=True)
class Comparison:
    """`facts`: name, before, after of those that differ. `cautions`: sentences."""

    facts: Sequence[tuple[str, str, str]]
    changes: Sequence[Change]
    cautions: Sequence[str]

    @property
    def worse(self) -> list[Change]:
        """What has become worse."""
        return [change for change in self.changes if change.meaning == "worse"]

    @property
    def open(self) -> list[Change]:
        """What would matter, and only longer runs can tell whether it is there."""
        return [
            change
            for change in self.changes
            if change.meaning == "unknown" and abs(change.by.value) >= change.least
        ]

    @property
    def better(self) -> list[Change]:
        """What has become better."""
        return [change for change in self.changes if change.meaning == "better"]


def compare(before: Study, after: Study) -> Comparison:
    """What has changed; InputError for studies that have nothing to be compared by.

    The intervals hold for all changes at once, as far as one run of each can tell.
    """
    _check_alike(before, after)
    cautions: list[str] = []
    changes = list(_found(before, after))
    if before.kind != "max-qps":
        for one, other in _pairs(before, after, cautions):
            changes += _changes(one, other, before.kind == "scales")
    if not changes:
        raise InputError("the two studies have no run in common: nothing can be compared")
    facts = [
        (name, *values)
        for name in dict.fromkeys([*before.facts, *after.facts])
        if len(set(values := (before.facts.get(name, "-"), after.facts.get(name, "-")))) > 1
        and name not in UNTOLD
    ]
    asked = [name for name, *values in facts if name in ASKED and "-" not in values]
    if asked:
        cautions.append(
            f"what was asked is not the same ({list_words(asked)}): a change may be the load's"
        )
    return Comparison(facts, _at_once([*_together(changes), *changes]), cautions)


def bounded(interval: Interval) -> bool:
    """Whether both of its ends are known."""
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def _check_alike(before: Study, after: Study) -> None:
    if before.kind != after.kind:
        raise InputError(
            f"a study of {before.kind} and one of {after.kind} can't be compared: both have to be "
            "made with the same option"
        )
    scenarios = [study.facts.get("MLPerf", "").split(":")[0] for study in (before, after)]
    if scenarios[0] != scenarios[1]:
        raise InputError(f"MLPerf's {scenarios[0]} and {scenarios[1]} can't be compared")
    if before.kind == "max-qps" and before.p99_ms != after.p99_ms:
        raise InputError(
            f"the highest rates within {before.p99_ms:g} ms and within {after.p99_ms:g} ms can't "
            "be compared"
        )


def _pairs(before: Study, after: Study, cautions: list[str]) -> list[tuple[Seen, Seen]]:
    """Runs that belong together: of the same load, or else in the same place of their study."""
    left, right = seen_of(before), seen_of(after)
    ours, theirs = {one.name: one for one in left}, {one.name: one for one in right}
    common = [name for name in ours if name in theirs]
    if not common and [one.is_open for one in left] == [one.is_open for one in right]:
        both = list(zip(left, right, strict=True))
        loads = list_words([f"{one.name} and {other.name}" for one, other in both])
        cautions.append(f"the loads are not the same, and latency depends on load: {loads}")
        return both
    if alone := [name for name in {**ours, **theirs} if name not in common]:
        cautions.append(f"in one of the two only: {list_words(alone)}")
    return [(ours[name], theirs[name]) for name in common]


def _changes(before: Seen, after: Seen, of_scale: bool) -> Iterator[Change]:
    run, ours, theirs = before.name, before.summary, after.summary
    is_open, alone = before.is_open, before.trial.load.callers == 1
    if not (of_scale and not alone):  # many callers' latency says nothing of a scale
        for percent in PERCENTS:
            if percent in ours.percentiles_ms and percent in theirs.percentiles_ms:
                figures = (ours.percentiles_ms[percent], theirs.percentiles_ms[percent])
                yield _relative(run, f"p{percent:g}, ms", *figures)
    if not is_open and not (of_scale and alone):
        # An open loop's answers come as fast as they are asked for.
        rates = (ours.answered_per_s, theirs.answered_per_s)
        yield _relative(run, "answers/s", *rates, less_is_better=False)
    if ours.failed or theirs.failed:
        one, other = (share_interval(_failures(seen)) for seen in (before, after))
        by = difference(other, one)
        yield Change(run, "failed", one.value, other.value, by, LEAST_FAILED, plain=True)
    if not of_scale or alone:
        yield from _accuracy(before, after)


def _accuracy(before: Seen, after: Seen) -> Iterator[Change]:
    """AP and AP50 at a scale: of the same pictures each time, so there is no chance in it."""
    run, one, other = f"scale {before.trial.scale}", before.trial, after.trial
    for name, ours, theirs in (("AP", one.ap, other.ap), ("AP50", one.ap50, other.ap50)):
        if ours is not None and theirs is not None:
            by = Interval(theirs - ours, theirs - ours, theirs - ours)
            yield Change(run, name, ours, theirs, by, LEAST_AP, False, True)


def _found(before: Study, after: Study) -> Iterator[Change]:
    """Changes of the answer of a search, and of MLPerf's verdict."""
    if before.kind == "max-qps":
        one, other = (
            Interval(found["max_qps"], found["low"], found.get("high", math.inf))
            for found in (before.found, after.found)
        )
        yield _relative("", "highest rate, requests/s", one, other, less_is_better=False)
    if before.kind == "mlperf":
        ours, theirs = before.found["valid"], after.found["valid"]
        by = Interval(theirs - ours, theirs - ours, theirs - ours)
        yield Change("", VALIDITY, ours, theirs, by, LEAST, False, True)


def _relative(
    run: str, figure: str, before: Interval, after: Interval, less_is_better: bool = True
) -> Change:
    """The change of a figure that is never below 0, as a difference of logarithms for now."""
    by = difference(_logs(after), _logs(before))
    return Change(run, figure, before.value, after.value, by, less_is_better=less_is_better)


def _together(changes: Sequence[Change]) -> Iterator[Change]:
    """The mean change of each figure over runs: surer than that of any of them."""
    for figure in dict.fromkeys(change.figure for change in changes if not change.plain):
        own = [change for change in changes if change.figure == figure and bounded(change.by)]
        if len(own) > 1:
            value = math.fsum(change.by.value for change in own) / len(own)
            down = math.hypot(*(change.by.value - change.by.low for change in own)) / len(own)
            up = math.hypot(*(change.by.high - change.by.value for change in own)) / len(own)
            by = Interval(value, value - down, value + up)
            yield replace(own[0], run=TOGETHER, before=None, after=None, by=by)


def _at_once(changes: Sequence[Change]) -> list[Change]:
    """The changes with intervals that hold for all of them at once; logarithms become shares.

    Source: Bonferroni; each interval is widened as a normal one would have to be.
    """
    count = max(1, sum(bounded(change.by) and change.by.low < change.by.high for change in changes))
    normal = NormalDist()
    wider = normal.inv_cdf(1 - DOUBT / 2 / count) / normal.inv_cdf(1 - DOUBT / 2)
    done = []
    for change in changes:
        value, low, high = change.by.value, change.by.low, change.by.high
        ends = (value, value - wider * (value - low), value + wider * (high - value))
        by = Interval(*(ends if change.plain else map(math.expm1, ends)))
        done.append(replace(change, by=by))
    return done


def _failures(seen: Seen) -> list[bool]:
    return [sample.outcome is not Outcome.OK for sample in seen.trial.samples]


def _logs(interval: Interval) -> Interval:
    """The logarithms; of nothing at all, that of next to nothing."""
    value = max(interval.value, NEXT_TO_NOTHING)
    low = math.log(interval.low) if interval.low > 0 else -math.inf
    if interval.value <= 0:
        low = math.log(value)
    return Interval(math.log(value), low, math.log(max(interval.high, value)))
