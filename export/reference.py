"""What graphs are compared with: above all the trained model itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from export.contract import DELTAS, LOGITS
from export.engines.session import Detections
from export.inputs import Placed
from export.manifest import Manifest, Thresholds
from model import postprocess
from model.anchors import anchors_of_canvas
from model.checkpoint import Checkpoint
from model.errors import InputError
from model.normalise import normalise

LISTED = 5
"""Class names or sizes that a sentence lists."""


class Seen(NamedTuple):
    """What a graph should compute for one picture; boxes in canvas pixels.

    `tensors`: by their names in a graph, logits [anchors, K] and deltas [anchors, 4] of each level.
    `candidates`: of each level, what NMS chooses from. Both empty where it shows detections alone.
    """

    tensors: dict[str, NDArray[np.float32]]
    candidates: list[Detections]
    detections: Detections


class Reference(Protocol):
    """What graphs are compared with; `name` says it to people."""

    name: str

    def look(self, entry: Placed, thresholds: Thresholds) -> Seen:
        """What it computes for a picture on its canvas, alone."""


class EagerModel:
    """A checkpoint's network, with the slow oracle of post-processing."""

    def __init__(self, checkpoint: Checkpoint, name: str = "the eager model") -> None:
        self.name = name
        self._checkpoint = checkpoint
        self._model = checkpoint.build()

    def look(self, entry: Placed, thresholds: Thresholds) -> Seen:
        """See `Reference.look`."""
        feed = entry.feed
        sizes = torch.from_numpy(feed["image_sizes"])
        images = torch.from_numpy(feed["images"])
        checkpoint = self._checkpoint
        with torch.no_grad():
            predictions = self._model(normalise(images, sizes, checkpoint.mean, checkpoint.std))
        anchors = anchors_of_canvas(entry.place.canvas, checkpoint.architecture.anchors)
        levels = (*predictions.logits, *predictions.deltas)
        (candidates,) = postprocess.candidates_of(
            predictions, anchors, sizes, thresholds.score_threshold, thresholds.pre_nms_top_k
        )
        (found,) = postprocess.detections_of(predictions, anchors, sizes, **thresholds.model_dump())
        return Seen(
            {name: lv[0].numpy() for name, lv in zip((*LOGITS, *DELTAS), levels, strict=True)},
            [_in_numpy(level) for level in candidates],
            _in_numpy(found),
        )


def check_same_model(checkpoint: Checkpoint, name: str, manifest: Manifest) -> None:
    """InputError, naming the first difference, for a checkpoint that can't be the bundle's."""
    anchors, theirs = asdict(checkpoint.architecture.anchors), asdict(manifest.anchors)
    architecture, exported = asdict(checkpoint.architecture), manifest.source.get("architecture")
    facts: list[tuple[str, object, object]] = [
        ("classes", list(checkpoint.classes), manifest.classes),
        *((f"anchor {key}", anchors[key], theirs[key]) for key in anchors),
        ("mean", checkpoint.mean, manifest.mean),
        ("std", checkpoint.std, manifest.std),
    ]
    if isinstance(exported, dict):  # bundles of older exports don't say
        del architecture["anchors"]
        facts += [(key, value, exported.get(key)) for key, value in architecture.items()]
    for what, mine, bundles in facts:
        if mine != bundles:
            raise InputError(
                f"--against {name}: not the model of bundle {manifest.name!r}: {what} "
                f"{_told(mine)}, in the bundle {_told(bundles)}; "
                "give the checkpoint that it was exported from"
            )


def _told(value: object) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    more = f", ... ({len(value)} in all)" if len(value) > LISTED else ""
    return ", ".join(map(str, value[:LISTED])) + more


def _in_numpy(found: postprocess.Detections) -> Detections:
    return Detections(*(part.numpy() for part in found))
