"""Data sets against each other and against their folders."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from model.doctor.findings import Findings
from model.doctor.labels import Labels
from model.doctor.picture_checks import copies, is_picture_name

NAMED = 4
"""Twins that an example names."""


def check_splits(sets: Sequence[Labels], findings: Findings) -> None:
    """Adds pictures that train and val share, by name or by content, and twins within a set."""
    paths = list(dict.fromkeys(_whole(p.path) for labels in sets for p in labels.pictures))
    roles: dict[Path, set[str]] = defaultdict(set)
    for labels in sets:
        role = "val" if labels.where == "val" else "train"
        for picture in labels.pictures:
            roles[_whole(picture.path)].add(role)
    findings.add("val-in-train", [p.name for p in paths if len(roles[p]) > 1])
    for group in copies(paths):
        twins = [paths[place] for place in group]
        names = [path.name for path in twins]
        text = " = ".join(names[:NAMED]) + (" = ..." if len(names) > NAMED else "")
        apart = len(set().union(*(roles[path] for path in twins))) > 1
        code = "val-copy-in-train" if apart else "picture-copied"
        findings.add(code, [text], len(names) - 1)


def check_folders(sets: Sequence[Labels], findings: Findings) -> None:
    """Adds the pictures that lie beside labelled ones and that no data set names."""
    named: dict[Path, set[str]] = defaultdict(set)
    for labels in sets:
        for picture in labels.pictures:
            named[picture.path.parent].add(picture.path.name)
    strange, count = [], 0
    for folder, names in named.items():
        with suppress(OSError, ValueError):  # no such folder: its pictures are missing
            there = sorted(path for path in folder.iterdir() if is_picture_name(path))
            strange += [str(path) for path in there if path.name not in names]
            count += len(there)
    share = f"{len(strange) / max(1, count):.0%}"
    findings.add("picture-without-labels", strange, share=share)


def _whole(path: Path) -> Path:
    """The absolute path; unlike Path.resolve() it takes names that no file can have."""
    return Path(os.path.abspath(path))  # noqa: PTH100
