"""What Prometheus sees. One process owns the numbers; every label has a closed set of values."""

from __future__ import annotations

from collections.abc import Callable

import prometheus_client as prom

from export.manifest import Manifest
from service.batcher import Batcher, BatchReport
from service.stages import StageClock

SECONDS = (
    0.001, 0.0016, 0.0025, 0.004, 0.0063, 0.01, 0.016, 0.025, 0.04, 0.063,
    0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5, 4.0, 6.3, 10.0,
)  # fmt: skip
"""1 ms to 10 s in steps of about 1.6 (Renard's R5 series)."""

ROUTES = ("/v1/detect", "/v1/models", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json")
OTHER_ROUTE = "other"
"""The label of every path that is not ours: junk URLs must not make series."""

OUTCOMES = ("ok", "client_error", "rejected", "cancelled", "timeout", "error")


def route_of(path: str) -> str:
    """The route label of a path."""
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
        self.stage_seconds = self._histogram(
            "stage_duration_seconds", "Stages of detect requests; they add up", SECONDS, "stage"
        )
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
        self.engine_faults = self._counter("engine_faults", "Failures of the engine", "kind")
        for reason in ("idle", "busy", "full", "retry"):
            self.dispatches.labels(reason)
        for outcome in OUTCOMES:
            self.images.labels(outcome)
            self.requests.labels("/v1/detect", outcome)
        for scale in manifest.scales:
            self.scales.labels(str(scale))
        self.received.labels("/v1/detect")
        self.engine_faults.labels("run_failed")
        info = self._gauge("model_info", "What is served", "name", "version", "engine", "precision")
        info.labels(manifest.name, manifest.version, engine, precision).set(1)

    def watch(self, batcher: Callable[[], Batcher], latency_target_s: float) -> None:
        """Has the gauges read the batcher of that moment at every scrape."""
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "queue_depth": ("Images in the queues", lambda: batcher().queued),
            "queue_oldest_age_seconds": ("Age of the oldest", lambda: batcher().oldest_age_s),
            "inflight_batches": ("Batches in the engine", lambda: batcher().running),
            "saturation_ratio": (
                "Predicted wait / target: scale out above 1",
                lambda: batcher().wait_s / latency_target_s,
            ),
        }
        for name, (text, read) in gauges.items():
            self._gauge(name, text).set_function(read)

    def observe_batch(self, report: BatchReport, unseen: bool) -> None:
        """Counts a run of the engine."""
        self.batch_size.observe(report.size)
        padded = report.size * report.canvas.height * report.canvas.width
        self.batch_padding.observe(1.0 - report.image_pixels / padded)
        self.dispatches.labels(report.reason).inc()
        if report.failed:
            self.engine_faults.labels("run_failed").inc()
        if unseen:
            self.unseen_shapes.inc()

    def observe_stages(self, stages: StageClock) -> None:
        """Ends a detect request's clock and counts where its time went."""
        self.request_seconds.observe(stages.stop())
        for stage, seconds in stages.seconds.items():
            self.stage_seconds.labels(stage).observe(seconds)

    def render(self) -> bytes:
        """The text exposition. Called on the event loop, where all is counted: a consistent cut."""
        return prom.generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> prom.Counter:
        return prom.Counter(f"retinaserve_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> prom.Gauge:
        return prom.Gauge(f"retinaserve_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> prom.Histogram:
        return prom.Histogram(
            f"retinaserve_{name}", text, labels, buckets=buckets, registry=self._registry
        )
