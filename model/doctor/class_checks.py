"""The classes: their names, how many boxes each has, and pictures where some seem to be missing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.doctor.findings import Findings
from model.doctor.labels import Labels

FEW_BOXES = 10
"""A class with fewer boxes is hardly learnt."""

USUAL = 4
"""A class with this median number of boxes in a picture is usual there."""

FAR_FEWER = 0.25
"""Pictures with at most this share of the median are suspected of missing labels."""


def check_class_names(names: Sequence[str], findings: Findings) -> None:
    """Adds names with blanks around them, and names that differ in case or blanks alone."""
    findings.add("class-name-blanks", [repr(name) for name in names if name != name.strip()])
    alike = defaultdict(list)
    for name in dict.fromkeys(names):
        alike["".join(name.split()).casefold()].append(name)
    groups = [", ".join(map(repr, group)) for group in alike.values() if len(group) > 1]
    findings.add("class-name-case", groups)


def check_class_counts(
    classes: Sequence[str], counts: NDArray[np.int64], findings: Findings
) -> None:
    """Adds classes with no box and with few; counts [K] of what training learns from."""
    named = list(zip(classes, counts.tolist(), strict=True))
    findings.add("class-without-boxes", [repr(name) for name, n in named if n == 0])
    few = [f"{name!r}: {n}" for name, n in named if 0 < n < FEW_BOXES]
    findings.add("class-rare", few, least=FEW_BOXES)


def check_class_list(
    labels: Labels, classes: Sequence[str], whose: str, findings: Findings
) -> None:
    """Adds labels of classes that the class list lacks; training refuses the boxes of these."""
    counts = np.bincount(labels.classes, minlength=len(labels.class_names)).tolist()
    strange = [
        f"{name!r}: {count} boxes"
        for name, count in zip(labels.class_names, counts, strict=True)
        if count and name not in classes
    ]
    findings.add("class-not-in-list", strange, whose=whose)


def scantily_labelled(
    labels: Labels, learnt: NDArray[np.bool_], findings: Findings
) -> list[tuple[int, int]]:
    """(picture, class) of pictures with far fewer boxes of a class than is usual, worst first.

    Only classes that most pictures show several times tell anything, and pictures without any box
    are counted elsewhere.
    """
    pictures, classes = labels.picture_of[learnt], labels.classes[learnt]
    labelled = np.unique(pictures)
    if len(labelled) == 0:
        return []
    found: list[tuple[float, int, int, str]] = []
    advice = {}
    # Half of the pictures have the median or more: a smaller total rules a class out.
    totals = np.bincount(classes, minlength=len(labels.class_names))
    for index in np.flatnonzero(totals >= USUAL * len(labelled) / 2).tolist():
        counts = np.bincount(pictures[classes == index], minlength=len(labels.pictures))
        median = float(np.median(counts[labelled]))
        least = int(median * FAR_FEWER)
        low = labelled[counts[labelled] <= least].tolist() if median >= USUAL else []
        name = labels.class_names[index]
        for picture in low:
            count = int(counts[picture])
            text = f"{labels.pictures[picture].name}: {count} {name} (the median is {median:g})"
            found.append((count / median, picture, index, text))
        if low and name not in labels.source.partial_below:
            advice[name] = least + 1
    found.sort()
    findings.add(
        "labels-partial",
        [text for _, _, _, text in found],
        advice=_partial_advice(advice, labels.where == "val"),
    )
    return [(picture, index) for _, picture, index, _ in found]


def _partial_advice(least: dict[str, int], val: bool) -> str:
    if val:
        return "Finish the labels: right answers there count as wrong."
    if not least:
        return "Finish the labels; the recipe's partial_below names these classes already."
    entries = ", ".join(f"{json.dumps(name)} = {count}" for name, count in least.items())
    return (
        "Finish the labels, or tell training which pictures to take as partly labelled, in the "
        f"data source: `partial_below = {{ {entries} }}`."
    )
