"""Studies of an invented server: one worker, who serves in the order of coming."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load, Study, Trial

FACTS = {"command": "retinaserve loadtest URL", "model": "known", "servers": "http://a, http://b"}


def trial(
    rate: float | None = None,
    callers: int | None = None,
    seconds: float = 20.0,
    service_ms: float = 10.0,
    seed: int = 0,
    failing: float = 0.0,
    **more: Any,
) -> Trial:
    """A run; a share of its requests is refused, and a few find no connection."""
    chance = random.Random(seed)
    free = 0.0

    def sample(at: float) -> Sample:
        nonlocal free
        if chance.random() < failing:
            if chance.random() < 0.2:
                return Sample(at, at, at + 0.002, Outcome.CONNECTION, why="connection refused")
            return Sample(at, at, at + 0.001, Outcome.REFUSED, 503, "503 queue_full")
        begins = max(at, free)
        free = begins + service_ms / 1e3 * chance.gammavariate(4.0, 0.25)
        stages = {"queue": 1e3 * (begins - at), "inference": 1e3 * (free - begins)}
        return Sample(at, at, free + 0.002, Outcome.OK, 200, "", stages, 3, 1, chance.randrange(2))

    if rate is not None:
        samples = [sample(at) for at in arrivals(rate, seconds, "poisson", seed)]
    else:
        samples, due = [], [0.0] * (callers or 1)
        while (at := min(due)) < seconds:
            samples.append(sample(at))
            due[due.index(at)] = samples[-1].ended
    return Trial(Load(rate, callers, seconds=seconds), samples, 0.1, **more)


def load_study(**more: Any) -> Study:
    return Study("load", FACTS, [trial(**({"rate": 40.0} | more))])


def rates_study(rates: tuple[float, ...] = (10.0, 40.0, 80.0), **more: Any) -> Study:
    trials = [trial(rate=rate, seed=int(rate), **more) for rate in rates]
    return Study("rates", FACTS, trials, {"capacity": 99.0}, ["the last rate is near capacity"])


def scales_study(
    slower: float = 1.0, seed: int = 0, aps: tuple[float, float] = (0.4, 0.5)
) -> Study:
    trials = []
    for scale, ms, ap in ((320, 10.0, aps[0]), (480, 22.0, aps[1])):
        alone = trial(callers=1, service_ms=ms * slower, seed=seed + scale, scale=scale)
        busy = trial(callers=4, service_ms=ms * slower, seed=seed + scale + 1, scale=scale)
        trials += [replace(one, ap=ap, ap50=ap + 0.2) for one in (alone, busy)]
    return Study("scales", FACTS, trials)


def search_study(rate: float = 32.0, low: float = 31.0, high: float = 33.0, **more: Any) -> Study:
    trials = [trial(callers=4), *(trial(rate=each) for each in (60.0, 30.0, 45.0))]
    found = {"max_qps": rate, "low": low, "high": high, "capacity": 99.0}
    return Study("max-qps", FACTS, trials, found, **({"p99_ms": 100.0} | more))


def mlperf_study(valid: bool = True, scenario: str = "Server") -> Study:
    said = f"{scenario}: {'VALID' if valid else 'INVALID'}"
    found = {"valid": float(valid), "LoadGen p99, ms": 61.5}
    return Study("mlperf", FACTS | {"MLPerf": said}, [trial(rate=40.0)], found, p99_ms=100.0)


EVERY_KIND = {
    "load": lambda: load_study(failing=0.02),
    "rates": rates_study,
    "scales": scales_study,
    "max-qps": search_study,
    "mlperf": mlperf_study,
}
