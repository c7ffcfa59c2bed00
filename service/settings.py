"""What an operator can set: arguments of `retinaserve serve` or RETINASERVE_* variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from export.engines.registry import EngineName
from export.manifest import Precision
from model.cores import available_cores
from model.errors import InputError
from service.accepted import fault_of
from service.pictures.images import DEFAULT_MAX_PIXELS

PREFIX = "RETINASERVE_"
MAX_TIMEOUT_MS = 60_000
MAX_LATENCY_TARGET_S = 60.0
"""Below the last bucket of the metrics, else no p99 could pass it."""
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


def packaged_bundle() -> Path:
    """The folder of the bundle that comes with the package."""
    return Path(__file__).parent / "bundles" / "cells"


class Settings(BaseSettings):
    """Read once at start; every field is also the variable RETINASERVE_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    bundle: Path = Field(default_factory=packaged_bundle)
    """A bundle's folder, or for the engine torch a checkpoint."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 takes any free port."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where POST /admin/reload is answered; None nowhere, 0 on any free port."""
    admin_host: str = "127.0.0.1"
    precision: Precision | None = None
    """None serves the bundle's first graph that the engine can run."""
    engine: EngineName = "auto"
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    scales: Annotated[
        str,
        Field(
            pattern=r"^(\d+(,\d+)*)?$",
            description="Of a checkpoint, what to serve: shorter sides in pixels, comma separated, "
            "such as 320,480.",
        ),
    ] = ""
    torch_compile: bool = False
    """Whether the engine torch compiles the network: minutes at the start for a faster run."""
    build_plan: bool = True
    """Whether `auto` on a GPU has the TensorRT plan built that the bundle lacks, in a process of
    its own, and then chooses again."""
    api_key: SecretStr | None = None
    """Where set, detect and infer need it; several with commas between, so that one can replace
    another."""
    quota_images_per_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    """Images a second that each caller may have let in, the rest being refused with 429: each API
    key where keys are set, else each address. None: as many as there is room for."""
    quota_burst: Count | None = None
    """How many of them may come at once; None: those of a second."""
    forwarded_allow_ips: str = ""
    """Addresses and networks of proxies, comma separated: from them alone X-Forwarded-For says who
    calls. `*` trusts everybody."""

    max_batch_size: Annotated[int, Field(ge=1, le=256)] = 2
    """Images that may share a run. On a CPU more gain next to nothing (46 ms an image in twos, 45
    in fours, 49 alone: the bundled model in INT8, 2 cores) and each size is warmed at start."""
    max_batch_pixels: Count = 8 * 1024 * 1024
    """Padded pixels that one batch may hold; a lone image is always let through."""
    queue_limit: Count = 64
    """Images that may wait at once, being decoded or queued."""
    decode_threads: Count = Field(default_factory=available_cores)
    engine_threads: Count = Field(default_factory=available_cores)
    engine_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 30.0
    """A run that takes longer than this, and than 20 times the longest seen, counts as hung: the
    process ends. The first run of each shape may take 20 times as long."""
    default_timeout_ms: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_MS)] | None = None
    """The deadline of a request that gives no timeout_ms of its own; None: it has none."""
    latency_target_s: Annotated[float, Field(gt=0.0, le=MAX_LATENCY_TARGET_S)] = 1.0
    """The wait that counts as saturation 1 in the metrics, and what the alerts hold p99 against."""

    max_body_bytes: Count = 20 * 1024 * 1024
    max_upload_bytes: Count = 256 * 1024 * 1024
    """What the bodies of all requests together may hold; past it 503."""
    max_image_pixels: Count = DEFAULT_MAX_PIXELS
    max_decoded_bytes: Count = 256 * 1024 * 1024
    """What the pictures that are being decoded may take together; the next ones wait."""
    max_images: Count = 32
    """Images in one request."""
    body_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 20.0
    """A body that makes no progress for so long is refused with 408."""
    max_connections: Count = 1000
    """Past it the longest idle connection is closed; if none is idle, detect answers 503."""
    header_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 10.0
    """A connection whose request line and headers take longer is closed."""
    keep_alive_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 75.0
    """An idle connection is closed after it: longer than balancers keep theirs, as a rule."""
    write_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 20.0
    """A client that takes nothing of its answer for so long is dropped."""

    drain_delay_s: Seconds = 2.0
    """On SIGTERM, how long to keep serving while /readyz already says 503. Ctrl-C does not wait."""
    drain_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 30.0
    """How long what is in flight may take after the listener has closed."""
    chaos: bool = False
    """Whether the header X-Retinaserve-Chaos may ask for faults of the engine: to try, never to
    serve."""
    log_lines_per_s: Annotated[int, Field(ge=0)] = 100
    """Lines of requests; the rest is counted in a line of its own. Failures have a line always."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def checkpoint_scales(self) -> tuple[int, ...]:
        """`scales`, parsed."""
        return tuple(int(part) for part in self.scales.split(",") if part)


def read_settings(overrides: dict[str, Any] | None = None) -> Settings:
    """The settings from the environment, `overrides` first; None among them counts as not given.

    Raises InputError: one sentence that names the setting.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        fault = fault_of(error, Settings)
        variable = f"{PREFIX}{fault.name.upper()}"
        raise InputError(
            f"setting {fault.name} (or {variable}) {fault.found}: {fault.accepted}"
        ) from None
