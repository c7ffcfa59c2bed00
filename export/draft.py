"""What a checkpoint says of itself in a manifest, before there is a graph. No onnx here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.manifest import Thresholds
from model.checkpoint import Checkpoint
from model.files import sha256_of
from model.letterbox import Canvas, group_canvases

DEFAULT_SCALE = 800
"""The paper's, for checkpoints that don't say at which scale they were trained."""


def draft_facts(
    checkpoint: Checkpoint,
    source: dict[str, Any],
    *,
    name: str | None = None,
    version: str = "1",
    scales: tuple[int, ...] = (),
    canvases: tuple[Canvas, ...] = (),
    default_scale: int | None = None,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - immutable
) -> dict[str, Any]:
    """The entries of a manifest, but for `graphs`.

    By default the name is the recipe's, the only scale that of the training, and the default scale
    the largest. InputError for scales and canvases that don't fit; see `group_canvases`.
    """
    if not scales and not canvases:
        scales = (checkpoint.recipe.get("train", {}).get("scale", DEFAULT_SCALE),)
    groups = group_canvases(scales, canvases)
    return {
        "name": name or checkpoint.recipe.get("name", "model"),
        "version": version,
        "classes": list(checkpoint.classes),
        "anchors": checkpoint.architecture.anchors,
        "canvases": {scale: [str(c) for c in members] for scale, members in groups.items()},
        "default_scale": max(groups) if default_scale is None else default_scale,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "thresholds": thresholds,
        "source": source,
    }


def source_facts(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the manifest says of a checkpoint's file."""
    architecture = asdict(checkpoint.architecture)
    del architecture["anchors"]  # the manifest has them
    return {
        "checkpoint": path.name,
        "sha256": sha256_of(path),
        "step": checkpoint.step,
        "recipe": checkpoint.recipe,
        "architecture": architecture,
    }
