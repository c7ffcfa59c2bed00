"""Data sets as a recipe names them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model.data.coco import read_coco
from model.data.drawn import drawn_scenes
from model.data.records import BadBoxes, DataSet
from model.data.voc import read_voc

Side = Annotated[int, Field(ge=64, le=8192)]
"""Pixels of a drawn scene's side: smaller scenes hold no cell, larger ones need gigabytes."""


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    repeat: Annotated[int, Field(ge=1)] = 1
    """How often each picture appears in an epoch."""
    partial_below: dict[str, int] = {}
    """Pictures with fewer boxes of a class than this count as not fully labelled with it: where
    nothing is labelled there, the class is neither rewarded nor punished."""


class CocoSource(_Source):
    """A COCO instance JSON and the folder of its pictures."""

    format: Literal["coco"]
    annotations: Path
    images: Path
    bad_boxes: BadBoxes = "refuse"

    def open(self, classes: tuple[str, ...] | None) -> DataSet:
        """Reads the labels; see `read_coco`."""
        return read_coco(self.annotations, self.images, classes, self.bad_boxes)


class VocSource(_Source):
    """A folder of Pascal VOC XML files and the folder of their pictures."""

    format: Literal["voc"]
    annotations: Path
    images: Path
    names: Path | None = None
    bad_boxes: BadBoxes = "refuse"
    first_pixel: Literal[0, 1] = 0

    def open(self, classes: tuple[str, ...] | None) -> DataSet:
        """Reads the labels; see `read_voc`."""
        return read_voc(
            self.annotations, self.images, classes, self.names, self.bad_boxes, self.first_pixel
        )


class DrawnSource(_Source):
    """Blood-smear scenes drawn from consecutive seeds."""

    format: Literal["drawn"]
    count: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    size: tuple[Side, Side] = (480, 640)

    def open(self, classes: tuple[str, ...] | None) -> DataSet:
        """Draws the labels; see `drawn_scenes`."""
        return drawn_scenes(self.count, self.seed, self.size, classes)


Source = Annotated[CocoSource | VocSource | DrawnSource, Field(discriminator="format")]
