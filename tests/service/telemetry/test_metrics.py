"""The numbers at /metrics: they add up, and junk makes none."""

from __future__ import annotations

import itertools

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import SECONDS
from tests.service.fakes import picture

pytestmark = pytest.mark.anyio

PNG = picture()


async def scrape(client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(v for (n, held), v in samples.items() if n == name and wanted <= set(held))


async def test_received_is_the_sum_of_outcomes_at_every_scrape(serving):
    async with serving(max_body_bytes=100_000) as client:
        for content in (PNG, b"", b"junk", PNG[:60], b"x" * 100_001, PNG):
            await client.post("/v1/detect", content=content)
            await client.get("/junk")
            await client.get("/v1/detect")
            samples = await scrape(client)
            for route in ("/v1/detect", "/metrics", "other"):
                assert total(samples, "retinaserve_requests_received_total", route=route) == total(
                    samples, "retinaserve_requests_total", route=route
                )
    detect = {"route": "/v1/detect"}
    assert total(samples, "retinaserve_requests_total", outcome="ok", **detect) == 2
    assert total(samples, "retinaserve_requests_total", outcome="client_error", **detect) == 10
    assert total(samples, "retinaserve_images_total", outcome="ok") == 2
    assert total(samples, "retinaserve_images_total", outcome="client_error") == 2


async def test_stage_times_sum_to_the_whole(serving):
    async with serving() as client:
        for _ in range(3):
            await client.post("/v1/detect", content=PNG)
        await client.post("/v1/detect", files=[("c", PNG[:60]), ("a", PNG), ("b", PNG)])
        await client.post("/v1/detect", content=b"junk")
        samples = await scrape(client)
    whole = total(samples, "retinaserve_request_duration_seconds_sum")
    assert total(samples, "retinaserve_stage_duration_seconds_sum") == pytest.approx(whole)
    assert total(samples, "retinaserve_request_duration_seconds_count") == 5
    assert total(samples, "retinaserve_stage_duration_seconds_count", stage="inference") == 4


async def test_junk_makes_no_series(serving):
    async with serving() as client:
        await client.get("/first")
        await client.post("/v1/detect?x=1", content=b"junk")
        await scrape(client)
        before = set(await scrape(client))
        for i in range(20):
            await client.get(f"/junk{i}", headers={f"X-{i}": "y", "X-Request-ID": f"id{i}"})
            await client.request(f"METHOD{i}", "/v1/detect")
            await client.post(f"/v1/detect?junk{i}=1&scale={i}", content=b"junk")
        after = set(await scrape(client))
    assert after == before
    assert len(after) < 300


async def test_a_batch_is_counted_with_its_padding(serving):
    async with serving() as client:
        await client.post("/v1/detect", content=picture(80, 128))
        samples = await scrape(client)
    # 80x128 becomes 100x160 on the canvas of 128x160: 28 of its 128 columns are padding.
    assert total(samples, "retinaserve_batch_padding_ratio_sum") == 28 / 128
    assert total(samples, "retinaserve_batch_size_sum") == 1
    assert total(samples, "retinaserve_batch_dispatch_total", reason="idle") == 1
    assert total(samples, "retinaserve_scale_total", scale="128") == 1
    assert total(samples, "retinaserve_detections_per_image_sum") == 3
    assert total(samples, "retinaserve_image_pixels_sum") == 80 * 128


async def test_every_name_of_the_interface_is_there_from_the_first_scrape(serving):
    async with serving() as client:
        names = {name for name, _ in await scrape(client)}
    assert {
        "retinaserve_requests_received_total",
        "retinaserve_requests_total",
        "retinaserve_images_total",
        "retinaserve_request_duration_seconds_bucket",
        "retinaserve_batch_size_bucket",
        "retinaserve_batch_padding_ratio_bucket",
        "retinaserve_batch_dispatch_total",
        "retinaserve_queue_depth",
        "retinaserve_queue_oldest_age_seconds",
        "retinaserve_inflight_batches",
        "retinaserve_saturation_ratio",
        "retinaserve_ready",
        "retinaserve_latency_target_seconds",
        "retinaserve_detections_per_image_bucket",
        "retinaserve_image_pixels_bucket",
        "retinaserve_scale_total",
        "retinaserve_unseen_shapes_total",
        "retinaserve_engine_faults_total",
        "retinaserve_model_info",
        "process_resident_memory_bytes",
    } <= names
    assert not any(name.endswith("_created") for name in names)


async def test_ready_is_what_readyz_says(serving):
    said = []
    apps = []
    async with serving(app_of=apps.append, latency_target_s=0.4) as client:
        for change in (lambda: None, apps[0].state.runtime.begin_drain):
            change()
            ready = total(await scrape(client), "retinaserve_ready")
            said.append((ready, (await client.get("/readyz")).status_code))
        target = total(await scrape(client), "retinaserve_latency_target_seconds")
    assert said == [(1.0, 200), (0.0, 503)]
    assert target == 0.4


async def test_a_lost_engine_is_not_ready(serving):
    apps = []
    async with serving(app_of=apps.append) as client:
        apps[0].state.runtime.model.fail()
        samples = await scrape(client)
        assert (await client.get("/readyz")).status_code == 503
    assert samples["retinaserve_ready", ()] == 0.0


async def test_every_outcome_of_every_route_of_images_is_there_from_the_first_scrape(serving):
    # A series that begins with a burst of errors has not grown for Prometheus.
    async with serving() as client:
        samples = await scrape(client)
    outcomes = {"ok", "client_error", "rejected", "cancelled", "timeout", "error"}
    for route in ("/v1/detect", "/v2/models/{name}/infer"):
        counted = {
            dict(labels)["outcome"]: value
            for (name, labels), value in samples.items()
            if name == "retinaserve_requests_total" and dict(labels)["route"] == route
        }
        assert counted == dict.fromkeys(outcomes, 0.0)
        received = ("retinaserve_requests_received_total", (("route", route),))
        assert samples[received] == 0.0


def test_buckets_span_1_ms_to_63_s_in_even_steps():
    assert (SECONDS[0], SECONDS[-1]) == (0.001, 63.0)
    ratios = [after / before for before, after in itertools.pairwise(SECONDS)]
    assert all(1.5 < ratio < 1.7 for ratio in ratios)
