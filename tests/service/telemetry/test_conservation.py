"""The counters of a real server under mixed load: nothing is lost, at any scrape."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import OUTCOMES
from tests.service.fakes import picture
from tests.service.started import FAKE, started

PNG = picture()
CALLERS = 6
REQUESTS = 25
LEAVE_AFTER_S = 0.005

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: httpx.AsyncClient) -> Samples:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    wanted = frozenset(labels.items())
    return sum(
        value
        for (found, held), value in samples.items()
        if found == f"retinaserve_{name}" and wanted <= held
    )


def in_flight(samples: Samples) -> float:
    ended = sum(
        total(samples, "requests_total", route="/v1/detect", outcome=one) for one in OUTCOMES
    )
    return total(samples, "requests_received_total", route="/v1/detect") - ended


def check(samples: Samples) -> None:
    """What holds at any moment."""
    assert 0 <= in_flight(samples) <= CALLERS + 2 * CALLERS  # leavers are noticed a moment later
    whole = total(samples, "request_duration_seconds_sum")
    assert total(samples, "stage_duration_seconds_sum") == pytest.approx(whole, rel=0.01)
    ended = total(samples, "requests_total", route="/v1/detect")
    assert total(samples, "request_duration_seconds_count") == ended
    assert len(samples) < 1500


async def call(client: httpx.AsyncClient, dice: random.Random) -> str:
    """One request of some kind; what became of it, in the metrics' words."""
    kind = dice.choice(["ok", "ok", "ok", "junk", "empty", "query", "late", "leave", "several"])
    url, body = "/v1/detect", PNG
    match kind:
        case "junk":
            body = dice.randbytes(50)
        case "empty":
            body = b""
        case "query":
            url += f"?nothing{dice.random()}=1"
        case "late":
            url += "?timeout_ms=1"
        case "leave":
            try:
                async with asyncio.timeout(LEAVE_AFTER_S * dice.random()):
                    status = (await client.post(url, content=body)).status_code
            except TimeoutError:
                return "left"
            return outcome(status)
        case "several":
            files = [("a", PNG), ("b", PNG[:60]), ("c", PNG)]
            return outcome((await client.post(url, files=files)).status_code)
    return outcome((await client.post(url, content=body)).status_code)


def outcome(status: int) -> str:
    return {200: "ok", 503: "rejected", 504: "timeout"}.get(
        status, "client_error" if status < 500 else "error"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("seed", [1, 2])
async def test_received_is_outcomes_plus_in_flight_at_every_scrape_under_mixed_load(seed):
    settings = {"queue_limit": 3, "max_batch_size": 2, "decode_threads": 1}
    with started(FAKE, "0.01", **settings) as (_, url):
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            seen: Counter[str] = Counter()

            async def caller(number: int) -> None:
                dice = random.Random(seed * 100 + number)
                for _ in range(REQUESTS):
                    seen[await call(client, dice)] += 1

            calling = asyncio.gather(*(caller(number) for number in range(CALLERS)))
            before: Samples = {}
            scrapes = 0
            while not calling.done():
                samples = await scrape(client)
                check(samples)
                falling = [
                    key
                    for key, value in before.items()
                    if key[0].endswith(("_total", "_count", "_bucket")) and samples[key] < value
                ]
                assert falling == []
                before = samples
                scrapes += 1
            await calling
            samples = await scrape(client)
            while in_flight(samples):  # those who left, noticed
                samples = await scrape(client)
            check(samples)
    assert scrapes > 5
    counted = {one: total(samples, "requests_total", outcome=one, route="/v1/detect")
               for one in OUTCOMES}  # fmt: skip
    # Who left was cancelled, or was late in leaving, or never got as far as being received.
    told = {one: counted[one] - seen[one] for one in ("rejected", "client_error", "timeout")}
    assert all(0 <= extra <= seen["left"] for extra in told.values())
    assert seen["ok"] <= counted["ok"] <= seen["ok"] + seen["left"]
    assert counted["error"] == seen["error"] == 0
    assert counted["cancelled"] <= seen["left"]
    assert min(seen[one] for one in ("ok", "rejected", "client_error", "left")) > 0
    assert sum(counted.values()) <= CALLERS * REQUESTS
