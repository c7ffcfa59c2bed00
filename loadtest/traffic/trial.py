"""What was asked of a server and what became of it: one run of load, and a command's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from loadtest.traffic.arrivals import Process
from loadtest.traffic.sample import Sample

Kind = Literal["load", "max-qps", "scales", "rates", "mlperf"]


@dataclass(frozen=True)
class Load:
    """The load of one run: an open loop of `rate` requests/s, or a closed one of `callers`.

    `seconds` are those that count, after `warm_up_s` that don't. An answer that takes longer than
    `timeout_s` is not waited for.
    """

    rate: float | None = None
    callers: int | None = None
    process: Process = "poisson"
    seconds: float = 30.0
    warm_up_s: float = 2.0
    timeout_s: float = 60.0
    seed: int = 0


@dataclass(frozen=True)
class Trial:
    """One run of load. `samples`: those that count, in the order of their intended starts.

    Their times are seconds since the first counted second began. `client_cores`: CPU time of the
    load test per second of the run. `scale`: what was asked for, or None for the server's own.
    `ap` and `ap50`: of the answers against labels, where there are any.
    """

    load: Load
    samples: Sequence[Sample]
    client_cores: float
    scale: int | None = None
    ap: float | None = None
    ap50: float | None = None


@dataclass(frozen=True)
class Study:
    """Everything that one command found out; what a report is made of.

    `facts`: what a reader has to know to make it again, by name: the command, the time, the
    client's machine, the server's model and engine (by /v1/models), what was sent. `found`: of a
    search, its answer. `warnings`: why a figure may not be trusted, in sentences.
    """

    kind: Kind
    facts: Mapping[str, str]
    trials: Sequence[Trial]
    found: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
