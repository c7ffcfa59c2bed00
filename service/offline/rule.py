"""How the workers of an offline run detect."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.engines.device import Device
from export.manifest import MANIFEST_FILE, Manifest
from model.errors import InputError
from service.errors import Malformed
from service.options import DetectQuery


@dataclass(frozen=True)
class Rule:
    """How a worker detects, `folder` being the run's; `threads` decode, and as many run the engine.

    `bundle_sha256` is what `identity_of` says of the bundle where the run was begun.
    """

    folder: Path
    bundle: Path
    bundle_sha256: str
    query: DetectQuery
    engine: str
    device: str
    threads: int

    @property
    def gpus(self) -> int:
        """GPUs that a worker has to itself."""
        return int(Device.parse(self.device).kind == "cuda")


def facts_of(rule: Rule, manifest: Manifest) -> dict[str, Any]:
    """What the results of all workers have in common. InputError for what can't be asked for."""
    if rule.engine == "auto" and rule.gpus:
        raise InputError(
            f"--device {rule.device} needs --engine: else each worker would choose one"
        )
    try:
        rule.query.options(manifest)
    except Malformed as error:
        raise InputError(error.detail) from None
    return {
        "model": {"name": manifest.name, "version": manifest.version},
        "bundle_sha256": rule.bundle_sha256,
        "asked": rule.query.model_dump(exclude_defaults=True),
        "engine": rule.engine,
        "device": rule.device,
    }


def identity_of(bundle: Path) -> str:
    """The hash of a bundle's manifest, which has those of its graphs."""
    return hashlib.sha256((bundle / MANIFEST_FILE).read_bytes()).hexdigest()
