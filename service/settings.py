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
from service.images import DEFAULT_MAX_PIXELS

PREFIX = "RETINASERVE_"
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
    precision: Precision | None = None
    """None serves the bundle's first graph that the engine can run."""
    engine: EngineName = "auto"
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    scales: Annotated[str, Field(pattern=r"^(\d+(,\d+)*)?$")] = ""
    """Of a checkpoint, what to serve: shorter sides, comma separated."""
    torch_compile: bool = False
    """Whether the engine torch compiles the network: minutes at the start for a faster run."""
    api_key: SecretStr | None = None
    """Where set, /v1/detect needs it."""

    max_batch_size: Annotated[int, Field(ge=1, le=256)] = 2
    """Images that may share a run. On a CPU more gain next to nothing (46 ms an image in twos, 45
    in fours, 49 alone: the bundled model in INT8, 2 cores) and each size is warmed at start."""
    max_batch_pixels: Count = 8 * 1024 * 1024
    """Padded pixels that one batch may hold; a lone image is always let through."""
    queue_limit: Count = 64
    """Images that may wait at once, being decoded or queued."""
    decode_threads: Count = Field(default_factory=available_cores)
    engine_threads: Count = Field(default_factory=available_cores)
    latency_target_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """The wait that counts as saturation 1 in the metrics."""

    max_body_bytes: Count = 20 * 1024 * 1024
    max_image_pixels: Count = DEFAULT_MAX_PIXELS
    max_images: Count = 32
    """Images in one request."""
    body_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 20.0
    """A body that makes no progress for so long is refused with 408."""

    drain_delay_s: Seconds = 2.0
    """On SIGTERM, how long to keep serving while /readyz already says 503. Ctrl-C does not wait."""
    drain_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 30.0
    """How long what is in flight may take after the listener has closed."""
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
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        value = first["input"]
        raise InputError(
            f"setting {name} (or {PREFIX}{name.upper()}) is {value!r}: {first['msg']}"
        ) from None
