"""Every scale and batch size of a model, on all engines that take part."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tqdm import tqdm

from loadtest.bench import worker
from loadtest.bench.plan import Plan
from loadtest.bench.prepared import prepare
from loadtest.bench.row import Facts, Ratio, Row, Setting, ratios_of, row_of
from loadtest.bench.subject import Subject
from loadtest.bench.turns import Engine, opened, take_turns
from service.cli.progress import LOG_INTERVAL_S
from service.detections import Options


@dataclass
class Measured:
    """What has been measured so far. `versions` of the engines; `left_out`: what can't run."""

    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def measure(subject: Subject, plan: Plan, measured: Measured) -> None:
    """Adds the rows and ratios of a model."""
    contenders, left_out = subject.contenders(plan.engines, plan.precisions, plan.device)
    measured.left_out += [line for line in left_out if line not in measured.left_out]
    scales = tuple(sorted(plan.scales or subject.manifest.scales))
    settings = [Setting(scale, batch) for scale in scales for batch in sorted(plan.batches)]
    names = [str(contender) for contender in contenders]
    with (
        _progress(subject.name, plan.seconds * len(settings)) as bar,
        opened(contenders, scales) as engines,
    ):
        measured.versions |= {str(engine.contender): engine.version for engine in engines}
        for number, setting in enumerate(settings):
            prepared = prepare(plan.pictures, setting.scale, subject.manifest)
            options = replace(Options.default(subject.manifest), scale=setting.scale)
            show = partial(_show, bar, number * plan.seconds)
            took = take_turns(engines, prepared, setting.batch, options, plan.seconds, show)
            facts = _facts(engines)
            measured.rows += [
                row_of(subject, one, prepared, setting, own, told)
                for one, own, told in zip(contenders, took, facts, strict=True)
            ]
            measured.ratios += ratios_of(subject.name, setting, names, took)


def _facts(engines: Sequence[Engine]) -> list[Facts]:
    """Memory first: to look for stages and operations takes some of its own."""
    memories = [engine.ask(worker.memory_mb) for engine in engines]
    shares = [engine.ask(worker.stage_shares) for engine in engines]
    # An image's operations are the model's: whoever can tell them tells for all.
    told = (engine.ask(worker.flops) for engine in engines)
    flops = next((count for count in told if count is not None), None)
    return [Facts(share, flops, memory) for share, memory in zip(shares, memories, strict=True)]


def _progress(name: str, total_s: float) -> tqdm[Any]:
    return tqdm(
        total=total_s,
        desc=name,
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s",
        mininterval=0.1 if sys.stderr.isatty() else LOG_INTERVAL_S,
    )


def _show(bar: tqdm[Any], before_s: float, spent_s: float) -> None:
    bar.n = min(bar.total, before_s + spent_s)
    bar.update(0)
