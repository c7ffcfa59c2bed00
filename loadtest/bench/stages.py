"""The stages of detection in figures and tables: the words, and what each of them spans."""

from __future__ import annotations

from typing import Literal, get_args

Stage = Literal[
    "preprocess", "trunk", "heads", "network", "candidates", "nms", "candidates+nms", "finish"
]
"""In order. preprocess: from a picture's bytes to its canvas. trunk: normalisation, backbone, FPN.
heads: from the pyramid's maps to logits and deltas. candidates: top-k and box decoding. nms: from
candidates to detections. finish: from canvas pixels to image pixels. `network` is trunk and heads,
`candidates+nms` both of these, where an engine does not let them be told apart.
"""

STAGES: tuple[Stage, ...] = get_args(Stage)

Shares = dict[Stage, float]
"""Parts of a time, 0 to 1."""


def shares_of(spent: Shares) -> Shares:
    """What each stage's time is of the sum of all; zeros if nothing was spent."""
    total = sum(spent.values())
    return {stage: time / total if total else 0.0 for stage, time in spent.items()}
