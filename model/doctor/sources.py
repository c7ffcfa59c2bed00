"""From what the command line names to the data sets to examine."""

from __future__ import annotations

from pathlib import Path

from model.data.sources import CocoSource, VocSource
from model.doctor.coco_labels import coco_labels
from model.doctor.findings import Findings
from model.doctor.labels import LabelledSource, Labels
from model.doctor.voc_labels import voc_labels
from model.errors import InputError
from model.pictures import PICTURE_SUFFIXES
from model.recipe import Recipe

FOLDERS = ("images", "../images", "JPEGImages", "../JPEGImages", ".", "..")
"""Where the pictures usually lie, seen from the labels."""


def sources_of_recipe(recipe: Recipe) -> list[tuple[str, LabelledSource]]:
    """The labelled sources of a recipe with their part in it; drawn scenes need no doctor."""
    several = len(recipe.data.train) > 1
    sources = [
        (f"train {number}" if several else "train", source)
        for number, source in enumerate(recipe.data.train, start=1)
        if isinstance(source, LabelledSource)
    ]
    if isinstance(recipe.data.val, LabelledSource):
        sources.append(("val", recipe.data.val))
    if not sources:
        raise InputError(f"{recipe.name}: the recipe has no labelled data, only drawn scenes")
    return sources


def source_of_path(path: Path, images: Path | None, recipe: Recipe | None) -> LabelledSource:
    """The data set at a path: a COCO JSON file or a folder of VOC XML.

    `images`: its pictures; by default the folder near the labels that holds some. How training
    treats boxes without area comes from the recipe's first data source.
    """
    if images is not None and not images.is_dir():
        raise InputError(f"--images {images}: no such folder")
    first = recipe.data.train[0] if recipe else None
    policy = first.bad_boxes if isinstance(first, LabelledSource) else "refuse"
    if not path.is_dir():
        return CocoSource(
            format="coco",
            annotations=path,
            images=images or _pictures_near(path.parent),
            bad_boxes=policy,
        )
    return VocSource(
        format="voc",
        annotations=path,
        images=images or _pictures_near(path),
        bad_boxes=policy,
        first_pixel=first.first_pixel if isinstance(first, VocSource) else 0,
    )


def read_labels(source: LabelledSource, findings: Findings) -> Labels:
    """The labels of a data set, read leniently; InputError if there is nothing to examine."""
    if isinstance(source, CocoSource):
        labels = coco_labels(source, findings)
    else:
        labels = voc_labels(source, findings)
    if not labels.pictures:
        raise InputError(f"{source.annotations}: lists no pictures to examine")
    return labels


def _pictures_near(folder: Path) -> Path:
    for name in FOLDERS:
        near = folder / name
        if near.is_dir() and any(p.suffix.lower() in PICTURE_SUFFIXES for p in near.iterdir()):
            return near
    return folder
