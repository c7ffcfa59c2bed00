"""What Prometheus sees. One process owns the numbers; every label has a closed set of values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import get_args

import prometheus_client as prom

from export.engines.session import DeviceFault, OutOfMemory
from export.manifest import Manifest
from service.engine.watchdog import EngineHung
from service.scheduling.batcher import Batcher
from service.scheduling.dispatcher import BatchReport
from service.telemetry.gpu import Gpu
from service.telemetry.histogram import Histogram, Series
from service.telemetry.stages import Stage, StageClock

SECONDS = (
    0.001, 0.0016, 0.0025, 0.004, 0.0063, 0.01, 0.016, 0.025, 0.04, 0.063,
    0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5, 4.0, 6.3, 10.0,
    16.0, 25.0, 40.0, 63.0,
)  # fmt: skip
"""1 ms to 63 s in steps of about 1.6 (Renard's R5 series).

Prometheus says the last of them for a percentile past it: the longest latency target lies below.
"""

ROUTES = (
    "/v1/detect",
    "/v1/models",
    "/livez",
    "/readyz",
    "/metrics",
    "/",
    "/docs",
    "/openapi.json",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/admin/reload",
)
CONSOLE_ROUTE = "/console"
"""The one label of all the console's files."""
MODEL_ROUTE = "/v2/models/{name}"
MODEL_PATH = re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?(/ready|/infer)?")
"""Whatever name and version are asked for, there or not."""
IMAGE_ROUTES = ("/v1/detect", f"{MODEL_ROUTE}/infer")
"""Those whose requests bring images and go through the stages."""
OTHER_ROUTE = "other"
"""The label of every path that is not ours: junk URLs must not make series."""

RELOADS = ("ok", "refused")

FAULTS: dict[type[Exception], str] = {
    EngineHung: "hung",
    DeviceFault: "device_fault",
    OutOfMemory: "out_of_memory",
    Exception: "run_failed",
}
"""The kinds of engine faults, a class before its base."""

OUTCOMES = ("ok", "client_error", "rejected", "cancelled", "timeout", "error")


def route_of(path: str) -> str:
    """The route label of a path."""
    if path.startswith(f"{CONSOLE_ROUTE}/"):
        return CONSOLE_ROUTE
    if model := MODEL_PATH.fullmatch(path):
        return f"{MODEL_ROUTE}{model[1] or ''}"
    return path if path in ROUTES else OTHER_ROUTE


def outcome_of(status: int) -> str:
    """The outcome that a status stands for; 499 is a client that left."""
    if status < 400:
        return "ok"
    return {499: "cancelled", 429: "rejected", 503: "rejected", 504: "timeout"}.get(
        status, "client_error" if status < 500 else "error"
    )


class Metrics:
    """The instruments; `render` is what GET /metrics answers."""

    content_type = prom.CONTENT_TYPE_LATEST

    def __init__(self, manifest: Manifest, engine: str, precision: str) -> None:
        # Else every counter has a second series that nobody reads.
        prom.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = prom.CollectorRegistry()
        prom.ProcessCollector(registry=self._registry)
        self.received = self._counter("requests_received", "Requests that arrived", "route")
        self.requests = self._counter("requests", "Requests that ended", "route", "outcome")
        self.images = self._counter("images", "Images that ended", "outcome")
        self.request_seconds = self._histogram(
            "request_duration_seconds", "Detect requests, arrival to last byte handed over", SECONDS
        )
        stages = Histogram(
            "retinaserve_stage_duration_seconds", "Stages of detect requests; they add up",
            SECONDS, "stage", get_args(Stage),
        )  # fmt: skip
        self._registry.register(stages)
        self.stage_seconds = stages.series
        self.batch_size = self._histogram(
            "batch_size", "Images per run of the engine", (1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256)
        )
        self.batch_padding = self._histogram(
            "batch_padding_ratio", "Part of a batch's pixels that is padding",
            (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        )  # fmt: skip
        self.dispatches = self._counter("batch_dispatch", "Runs by what cut the batch", "reason")
        self.detections = self._histogram(
            "detections_per_image", "Detections answered", (0, 1, 2, 5, 10, 20, 50, 100, 200, 300)
        )
        self.image_pixels = self._histogram(
            "image_pixels", "Pixels of the pictures as sent",
            (1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8),
        )  # fmt: skip
        self.scales = self._counter("scale", "Images by scale", "scale")
        self.unseen_shapes = self._counter("unseen_shapes", "Runs of a shape not warmed")
        self.reloads = self._counter("reloads", "Bundles that were to be swapped in", "result")
        self.engine_faults = self._counter("engine_faults", "Failures of the engine", "kind")
        for reason in ("idle", "busy", "full", "retry"):
            self.dispatches.labels(reason)
        for outcome in OUTCOMES:
            self.images.labels(outcome)
        # A series that begins with a burst of errors has not grown for Prometheus.
        for route in IMAGE_ROUTES:
            self.received.labels(route)
            for outcome in OUTCOMES:
                self.requests.labels(route, outcome)
        for result in RELOADS:
            self.reloads.labels(result)
        for kind in FAULTS.values():
            self.engine_faults.labels(kind)
        self._info = self._gauge(
            "model_info", "What is served", "name", "version", "engine", "precision"
        )
        self.describe(manifest, engine, precision)

    def describe(self, manifest: Manifest, engine: str, precision: str) -> None:
        """Says what is served from now on, and that alone."""
        self._info.clear()
        self._info.labels(manifest.name, manifest.version, engine, precision).set(1)
        for scale in manifest.scales:
            self.scales.labels(str(scale))

    def forget_scales(self, old: Manifest, new: Manifest) -> None:
        """Drops the series of scales that nothing serves any more, else each model adds some."""
        for scale in {*old.scales} - {*new.scales}:
            self.scales.remove(str(scale))

    def watch(self, batchers: Callable[[], Sequence[Batcher]], latency_target_s: float) -> None:
        """Has the gauges read the batchers of that moment at every scrape.

        There is more than one while a model that was replaced finishes what it has.
        """
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "queue_depth": ("Images in the queues", lambda: sum(b.queued for b in batchers())),
            "queue_oldest_age_seconds": (
                "Age of the oldest",
                lambda: max(b.oldest_age_s for b in batchers()),
            ),
            "inflight_batches": (
                "Batches in the engine",
                lambda: sum(b.running for b in batchers()),
            ),
            "saturation_ratio": (
                "Predicted wait / target: scale out above 1",
                lambda: sum(b.wait_s for b in batchers()) / latency_target_s,
            ),
        }
        for name, (text, read) in gauges.items():
            self._gauge(name, text).set_function(read)
        self._gauge("latency_target_seconds", "The wait of saturation 1").set(latency_target_s)

    def watch_readiness(self, ready: Callable[[], bool]) -> None:
        """Has a gauge say at every scrape whether /readyz would say 200."""
        self._gauge("ready", "Whether new traffic should come here").set_function(ready)

    def watch_gpu(self, gpu: Gpu) -> None:
        """Has gauges ask the GPU at every scrape."""
        for name, text, read in (
            ("gpu_memory_used_bytes", "GPU memory in use", gpu.memory_used_bytes),
            ("gpu_memory_total_bytes", "GPU memory", gpu.memory_total_bytes),
            ("gpu_utilization_ratio", "Part of the time in which the GPU ran", gpu.utilization),
        ):
            self._gauge(name, text).set_function(read)

    def observe_batch(self, report: BatchReport, unseen: bool) -> None:
        """Counts a run of the engine."""
        self.batch_size.observe(report.size)
        padded = report.size * report.canvas.height * report.canvas.width
        self.batch_padding.observe(1.0 - report.image_pixels / padded)
        self.dispatches.labels(report.reason).inc()
        if unseen:
            self.unseen_shapes.inc()

    def observe_fault(self, error: Exception) -> None:
        """Counts what the engine raised, by the nearest kind."""
        kind = next(kind for base, kind in FAULTS.items() if isinstance(error, base))
        self.engine_faults.labels(kind).inc()

    def observe_stages(self, stages: StageClock) -> None:
        """Ends a detect request's clock and counts where its time went."""
        self.request_seconds.observe(stages.stop())
        for stage, seconds in stages.seconds.items():
            self.stage_seconds[stage].observe(seconds)

    def render(self) -> bytes:
        """The text exposition. Called on the event loop, where all is counted: a consistent cut."""
        return prom.generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> prom.Counter:
        return prom.Counter(f"retinaserve_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> prom.Gauge:
        return prom.Gauge(f"retinaserve_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> Series:
        histogram = Histogram(f"retinaserve_{name}", text, bounds)
        self._registry.register(histogram)
        return histogram.series[""]
