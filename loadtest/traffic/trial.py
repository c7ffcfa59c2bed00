"""What was asked of a server and what became of it: one run of load, and a command's runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

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

    Their times are seconds since the first counted second began; `load.seconds` are those that were
    really counted. `carried`: answers that came in the counted seconds to requests of the warm-up.
    `client_cores`: CPU time of the load test per counted second, taken when these end. `scale`:
    what was asked for, or None for the server's own. `ap` and `ap50`: of the answers against
    labels, where there are any.
    """

    load: Load
    samples: Sequence[Sample]
    client_cores: float
    scale: int | None = None
    ap: float | None = None
    ap50: float | None = None
    carried: int = 0


class Watch(Protocol):
    """Looks on while load runs: the live view."""

    def begin(self, title: str, load: Load) -> None:
        """A run begins, with its warm-up; the one before it is over."""
        ...

    def sent(self) -> None:
        """A request starts."""
        ...

    def tell(self, sample: Sample) -> None:
        """A request has ended. Its times are seconds since the run began, warm-up included."""
        ...


class Blind:
    """A watch that looks at nothing."""

    def begin(self, title: str, load: Load) -> None:
        """See `Watch`."""

    def sent(self) -> None:
        """See `Watch`."""

    def tell(self, sample: Sample) -> None:
        """See `Watch`."""


Enough = Callable[[Sequence[Sample]], bool]
"""Whether a run may end early, by the counted requests that have ended, in that order."""


class Run(Protocol):
    """Runs one load against a server: what searches and sweeps are made of (`run.Runner`)."""

    stopped: bool
    """Whoever called wants it to end: what has been measured is all there will be."""

    async def run(
        self, load: Load, scale: int | None = None, enough: Enough | None = None
    ) -> Trial:
        """What became of the load. Once stopped it returns early, with what there is."""
        ...


@dataclass(frozen=True)
class Study:
    """Everything that one command found out; what a report is made of.

    `facts`: what a reader has to know to make it again, by name: the command, the time, the
    client's machine, the server's model and engine (by /v1/models), what was sent. `found`: of a
    search, its answer. `warnings`: why a figure may not be trusted, in sentences. `p99_ms`: the
    target that was given, from the intended start of a request to its answer. `interrupted`: it
    ended before its time.
    """

    kind: Kind
    facts: Mapping[str, str]
    trials: Sequence[Trial]
    found: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    p99_ms: float | None = None
    interrupted: bool = False
