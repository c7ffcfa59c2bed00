"""Drawn scenes with few cells, as the data of a study, and how imbalanced a data set is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from model.anchors import anchors_of_canvas
from model.data.records import Record
from model.data.sources import CocoSource
from model.geometry import AnchorSpec
from model.letterbox import canvases_of_scale, letterbox
from model.matching import BACKGROUND, Matching, match_anchors
from model.synthetic.dataset import write_scenes

SIDE_PX = 256
"""Of the square scenes: more than any scale of a study needs."""

SHARE = 0.07
"""Of a usual smear's cells: one a scene, so that background abounds."""

SEEDS = {"train": 1, "val": 2}


def sparse_scenes(folder: Path, counts: tuple[int, int]) -> tuple[CocoSource, CocoSource]:
    """Training and validation scenes, so many of each; drawn where `folder` doesn't hold them."""
    sources = []
    for (part, seed), count in zip(SEEDS.items(), counts, strict=True):
        place = folder / f"{part}-{count}"
        annotations = place / "annotations.json"
        if not annotations.exists():
            write_scenes(place, count, seed, (SIDE_PX, SIDE_PX), share=SHARE)
        source = CocoSource(format="coco", annotations=annotations, images=place / "images")
        sources.append(source)
    return sources[0], sources[1]


class Imbalance(NamedTuple):
    """Means over the pictures of a data set: boxes, anchors, and anchors that get a box."""

    boxes: float
    anchors: float
    positives: float
    background: float

    @property
    def background_per_positive(self) -> float:
        """Background anchors for each anchor with a box."""
        return self.background / max(self.positives, 1e-9)


def imbalance_of(
    records: Iterable[Record], scale: int, spec: AnchorSpec, rule: Matching
) -> Imbalance:
    """How much background there is for each positive anchor under a matching rule."""
    canvases = canvases_of_scale(scale)
    rows = []
    for record in records:
        place = letterbox(record.size, scale, canvases)
        anchors = torch.cat(anchors_of_canvas(place.canvas, spec))
        boxes, ignored = (
            torch.from_numpy(place.boxes_to_canvas(part)) for part in (record.boxes, record.ignored)
        )
        index = match_anchors(anchors, boxes, ignored, rule).box_index
        counts = (
            len(boxes),
            len(anchors),
            int((index >= 0).sum()),
            int((index == BACKGROUND).sum()),
        )
        rows.append(counts)
    return Imbalance(*torch.tensor(rows, dtype=torch.float64).mean(dim=0).tolist())
