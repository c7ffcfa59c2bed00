"""The whole examination: every data set by itself, then together and with the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.sources import DrawnSource
from model.doctor.anchor_exam import AnchorExam, examine_anchors
from model.doctor.catalogue import Severity
from model.doctor.class_checks import check_class_counts, check_class_list, check_class_names
from model.doctor.conditions import Conditions, conditions_of
from model.doctor.data_exam import DataSetExam, examine_data
from model.doctor.findings import Finding, Findings
from model.doctor.labels import LabelledSource
from model.doctor.recipe_checks import check_canvas, check_flips, check_recipe
from model.doctor.split_checks import check_folders, check_splits
from model.recipe import Recipe
from model.synthetic.classes import CLASS_NAMES


@dataclass(frozen=True)
class Examination:
    """All that the report shows; findings worst first, `classes` in head order."""

    title: str
    conditions: Conditions
    classes: tuple[str, ...]
    data: list[DataSetExam]
    anchors: AnchorExam | None
    findings: list[Finding]

    def count(self, severity: Severity) -> int:
        """How many kinds of findings are so bad."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def training(self) -> list[DataSetExam]:
        """The data sets that training learns from."""
        return [data for data in self.data if not data.is_val]

    @property
    def boxes_of_class(self) -> NDArray[np.int64]:
        """Training boxes of each class [K]."""
        return _boxes_of_class(self.training, self.classes)

    @property
    def pictures_of_class(self) -> NDArray[np.int64]:
        """Training pictures that show each class [K]."""
        none = np.zeros(len(self.classes), np.int64)
        return sum((data.count_pictures(self.classes) for data in self.training), none)

    @property
    def category_ids(self) -> dict[str, int]:
        """COCO's id of each class, of the first file that has one."""
        return {
            name: key
            for data in reversed(self.data)
            for name, key in zip(data.labels.class_names, data.labels.category_ids, strict=False)
        }


def examine(
    title: str,
    sources: Sequence[tuple[str, LabelledSource]],
    recipe: Recipe | None,
    scale: int | None,
    sample: int,
    tell: Callable[[str], None],
) -> Examination:
    """Examines data sets; of each at most `sample` pictures are decoded and matched with anchors.

    Raises InputError where there is nothing to examine; any fault of the data is a finding.
    """
    conditions = conditions_of(recipe, scale)
    common = Findings()
    of_data = [Findings(where) for where, _ in sources]
    data = [
        examine_data(source, conditions, sample, findings, tell)
        for (_, source), findings in zip(sources, of_data, strict=True)
    ]
    training = [one for one in data if not one.is_val]
    classes, whose = _class_list(recipe, (training or data)[0])
    for one, findings in zip(data, of_data, strict=True):
        check_class_list(one.labels, classes, whose, findings)
    every_name = [*classes, *(name for one in data for name in one.labels.class_names)]
    check_class_names(list(dict.fromkeys(every_name)), common)
    tell("comparing the files")
    check_splits([one.labels for one in data], common)
    check_folders([one.labels for one in data], common)
    if training and not _draws(recipe):
        check_class_counts(classes, _boxes_of_class(training, classes), common)
    if recipe:
        shown = sum(len(one.labels.pictures) * one.labels.source.repeat for one in training)
        check_recipe(recipe, shown, common)
        check_flips(recipe, classes, common)
        check_canvas(conditions, np.concatenate([one.sizes for one in data]), common)
    tell("matching boxes with anchors")
    anchors = examine_anchors(training, classes, conditions, sample, common)
    everything = [finding for findings in (*of_data, common) for finding in findings]
    everything.sort(key=lambda finding: list(Severity).index(finding.severity))
    return Examination(title, conditions, classes, data, anchors, everything)


def _class_list(recipe: Recipe | None, first: DataSetExam) -> tuple[tuple[str, ...], str]:
    """The class list that training will use, and whose it is."""
    if recipe and recipe.classes:
        return recipe.classes, "of the recipe"
    if recipe and first.labels.where and isinstance(recipe.data.train[0], DrawnSource):
        return CLASS_NAMES, "of the drawn scenes"
    return first.labels.class_names, "that the first training set gives"


def _draws(recipe: Recipe | None) -> bool:
    """Whether some training boxes come from drawn scenes, which no label file counts."""
    return recipe is not None and any(isinstance(s, DrawnSource) for s in recipe.data.train)


def _boxes_of_class(data: Sequence[DataSetExam], classes: Sequence[str]) -> NDArray[np.int64]:
    return sum((one.count_boxes(classes) for one in data), np.zeros(len(classes), np.int64))
