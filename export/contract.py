"""The names of a graph's inputs, outputs and inner values. No torch and no onnx here."""

from __future__ import annotations

from typing import Final

from export.manifest import Flavour
from model.geometry import LEVELS

OPTIONAL_INPUTS: Final = ("score_threshold", "iou_threshold", "max_detections")
"""Initializers that a caller may override."""

INPUTS: Final = ("images", "image_sizes", *OPTIONAL_INPUTS)

FED: Final = ("images", "image_sizes", "score_threshold", "iou_threshold")
"""What ONNX Runtime is given in every run; the cap on detections stays the manifest's."""

DETECTIONS: Final = ("num_detections", "boxes", "scores", "classes")
CANDIDATES: Final = ("candidate_boxes", "candidate_scores", "candidate_classes")

OUTPUTS: Final[dict[Flavour, tuple[str, ...]]] = {
    "cpu": DETECTIONS,
    "tensor": (*DETECTIONS, "converged", *CANDIDATES),
}

LOGITS: Final = tuple(f"logits_p{level}" for level in LEVELS)
DELTAS: Final = tuple(f"deltas_p{level}" for level in LEVELS)

LEAST_LOGIT: Final = -6.0
"""Where class logits themselves are in 8 bits, all below it (scores below .0025) are alike: far
from any score threshold, they would take most of the 256 steps from those that are answered."""

STAGES: Final = (*LOGITS, *DELTAS, *CANDIDATES)
"""What every graph computes on its way, by a name that can be asked for as an output."""
