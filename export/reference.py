"""What the trained model itself says of a picture: the eager network and the slow oracle."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from export.engines.session import Detections
from export.inputs import Placed
from export.manifest import Manifest, Thresholds
from model import postprocess
from model.anchors import anchors_of_canvas
from model.checkpoint import Checkpoint
from model.errors import InputError
from model.normalise import normalise
from model.retinanet import Predictions

LISTED = 5
"""Class names or sizes that a sentence lists."""


@dataclass(frozen=True)
class Seen:
    """The eager model's view of one picture; all arrays in canvas pixels and class indices."""

    predictions: Predictions
    anchors: list[torch.Tensor]
    image_sizes: torch.Tensor

    @property
    def logits(self) -> list[NDArray[np.float32]]:
        """Per level [anchors, K]."""
        return [level[0].numpy() for level in self.predictions.logits]

    @property
    def deltas(self) -> list[NDArray[np.float32]]:
        """Per level [anchors, 4]."""
        return [level[0].numpy() for level in self.predictions.deltas]

    def candidates(self, thresholds: Thresholds) -> list[Detections]:
        """What NMS chooses from, per level."""
        (levels,) = postprocess.candidates_of(
            self.predictions,
            self.anchors,
            self.image_sizes,
            thresholds.score_threshold,
            thresholds.pre_nms_top_k,
        )
        return [_in_numpy(level) for level in levels]

    def detections(self, thresholds: Thresholds) -> Detections:
        """What post-processing makes of them."""
        (found,) = postprocess.detections_of(
            self.predictions, self.anchors, self.image_sizes, **thresholds.model_dump()
        )
        return _in_numpy(found)


class Reference:
    """A checkpoint's eager model, one picture at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.build()

    def look(self, entry: Placed) -> Seen:
        """The model's view of a picture on its canvas, alone."""
        feed = entry.feed
        sizes = torch.from_numpy(feed["image_sizes"])
        images = torch.from_numpy(feed["images"])
        checkpoint = self._checkpoint
        with torch.no_grad():
            predictions = self._model(normalise(images, sizes, checkpoint.mean, checkpoint.std))
        anchors = anchors_of_canvas(entry.place.canvas, checkpoint.architecture.anchors)
        return Seen(predictions, anchors, sizes)


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
