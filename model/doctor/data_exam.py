"""One data set examined by itself: its file, its pictures, its boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from tqdm import tqdm

from model.doctor.box_checks import check_boxes
from model.doctor.class_checks import scantily_labelled
from model.doctor.conditions import Conditions
from model.doctor.findings import Findings
from model.doctor.format_checks import check_format
from model.doctor.labels import LabelledSource, Labels
from model.doctor.picture_checks import PictureFile, check_pictures, look_at
from model.doctor.sources import read_labels


@dataclass(frozen=True)
class DataSetExam:
    """What is known of one data set.

    Shapes: sizes [P, 2] (height, width), NaN where nobody knows; learnt [N] bool, the boxes that
    training learns from. `faulty`: places of boxes by finding. `scanty`: (picture, class) with
    suspiciously few boxes.
    """

    labels: Labels
    files: list[PictureFile]
    sizes: NDArray[np.float64]
    learnt: NDArray[np.bool_]
    faulty: dict[str, NDArray[np.int64]]
    scanty: list[tuple[int, int]]

    @property
    def is_val(self) -> bool:
        """Whether it is what a recipe chooses by, not what it trains on."""
        return self.labels.where == "val"

    def count_boxes(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Boxes to learn from of each class of a list [K]."""
        return self._count(self.labels.classes[self.learnt], classes)

    def count_pictures(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Pictures that show each class of a list [K]."""
        labels = self.labels
        pairs = np.stack([labels.picture_of, labels.classes])[:, self.learnt]
        return self._count(np.unique(pairs, axis=1)[1], classes)

    def _count(self, found: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.int64]:
        names = self.labels.class_names
        counts = np.bincount(found, minlength=len(names)).tolist()
        of_name = dict(zip(names, counts, strict=True))
        return np.array([of_name.get(name, 0) for name in classes], np.int64)


def examine_data(
    source: LabelledSource,
    conditions: Conditions,
    sample: int,
    findings: Findings,
    tell: Callable[[str], None],
) -> DataSetExam:
    """The exam of one data set; at most `sample` of its pictures are decoded to the last pixel."""
    tell(f"reading {source.annotations}")
    labels = read_labels(source, findings)
    count = len(labels.pictures)
    decoded = set(sampled(count, sample).tolist())
    looked = look_at([picture.path for picture in labels.pictures], decoded)
    # disable=None: no bar where nobody watches.
    files = list(tqdm(looked, total=count, unit="picture", leave=False, disable=None))
    check_pictures(labels, files, findings)
    findings.add("pictures-sampled", count=count - len(decoded), sample=len(decoded))
    known = [p.size or f.upright or (0, 0) for p, f in zip(labels.pictures, files, strict=True)]
    sizes = np.array(known, np.float64)
    sizes[(sizes == 0).any(axis=1)] = np.nan
    check_format(labels, sizes, findings)
    learnt, faulty = check_boxes(labels, sizes, conditions, findings)
    shown = np.zeros(count, bool)
    shown[labels.picture_of] = True
    empty = [labels.pictures[place].name for place in np.flatnonzero(~shown).tolist()]
    findings.add("pictures-empty", empty, share=f"{len(empty) / count:.0%}")
    scanty = scantily_labelled(labels, learnt, findings)
    return DataSetExam(labels, files, sizes, learnt, faulty, scanty)


def sampled(count: int, sample: int) -> NDArray[np.int64]:
    """At most `sample` places of `count`, in order, the same ones every time."""
    return np.sort(default_rng(0).permutation(count)[:sample])
