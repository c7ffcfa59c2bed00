"""A COCO JSON file read leniently: every fault is counted, none stops the reading."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, TypeGuard

from model.data.sources import CocoSource
from model.doctor.findings import Findings
from model.doctor.labels import Labels, LabelsBuilder
from model.errors import InputError


def coco_labels(source: CocoSource, findings: Findings) -> Labels:
    """The labels of a COCO JSON file; what `model.data.coco.read_coco` refuses becomes findings.

    Raises InputError only for a file that holds no list of images to audit.
    """
    coco = _load(source.annotations)
    builder = LabelsBuilder(findings.where, source)
    place_of = _pictures(coco, builder, findings)
    if coco["images"] and not builder.pictures:
        raise InputError(
            f"{source.annotations}: none of its {len(coco['images'])} images is an object with a "
            "file_name"
        )
    names = _categories(coco, findings)
    ids: Counter[str] = Counter()
    for number, entry in enumerate(_section(coco, "annotations", findings)):
        where = f"annotations[{number}]"
        if fault := _annotation_fault(entry):
            findings.add("entry-malformed", [f"{where} {fault}"])
            continue
        if "id" in entry:
            ids[str(entry["id"])] += 1
        picture, label = place_of.get(entry["image_id"]), names.get(entry["category_id"])
        if picture is None:
            findings.add("image-unlisted", [f"{where}: image_id {entry['image_id']}"])
        if label is None:
            findings.add("category-unlisted", [f"{where}: category_id {entry['category_id']}"])
        if picture is None or label is None:
            continue
        x, y, width, height = map(float, entry["bbox"])
        builder.box((x, y, x + width, y + height), picture, label, bool(entry.get("iscrowd")))
    twice = [f"id {key}: {count} times" for key, count in ids.items() if count > 1]
    findings.add("annotation-id-twice", twice)
    keys = sorted(names)
    if keys and (keys[0] not in (0, 1) or keys[-1] - keys[0] != len(keys) - 1):
        findings.add("category-ids-sparse", [f"{len(keys)} ids from {keys[0]} to {keys[-1]}"])
    return builder.labels([names[key] for key in keys], tuple(keys))


def _load(path: Path) -> dict[str, Any]:
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a COCO JSON file ({error})") from None
    if isinstance(coco, list):
        raise InputError(
            f"{path}: holds a list, like a file of COCO results; an instance file is an object "
            "with images, annotations and categories"
        )
    if not isinstance(coco, dict) or not isinstance(coco.get("images"), list):
        raise InputError(f"{path}: not a COCO instance file: it has no list 'images'")
    return coco


def _section(coco: dict[str, Any], section: str, findings: Findings) -> list[Any]:
    entries = coco.get(section)
    if isinstance(entries, list):
        return entries
    findings.add("entry-malformed", [f"the file has no list {section!r}"])
    return []


def _pictures(coco: dict[str, Any], builder: LabelsBuilder, findings: Findings) -> dict[int, int]:
    """The place of each image id; of images that share one, the first."""
    place_of: dict[int, int] = {}
    for number, entry in enumerate(coco["images"]):
        where = f"images[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            findings.add("entry-malformed", [f"{where} has no file_name"])
            continue
        sides = entry.get("height"), entry.get("width")
        size = sides if all(_is_int(side) and 0 < side < 2**31 for side in sides) else None
        if size is None:
            findings.add("entry-malformed", [f"{where} has height and width {sides}"])
        place = builder.picture(entry["file_name"], size)  # type: ignore[arg-type]
        key = entry.get("id")
        if not _is_int(key):
            findings.add("entry-malformed", [f"{where} has id {key!r}"])
        elif key in place_of:
            first = builder.pictures[place_of[key]].name
            findings.add("image-id-twice", [f"id {key}: {first}, {entry['file_name']}"])
        else:
            place_of[key] = place
    return place_of


def _categories(coco: dict[str, Any], findings: Findings) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, entry in enumerate(_section(coco, "categories", findings)):
        key, name = (
            (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        )
        if not _is_int(key) or not isinstance(name, str):
            findings.add("entry-malformed", [f"categories[{number}] has id {key!r}, name {name!r}"])
            continue
        if key in names:
            findings.add("category-twice", [f"id {key}: {names[key]!r}, {name!r}"])
        elif name in names.values():
            findings.add("category-twice", [f"name {name!r}: id {key} and another"])
        names[key] = name
    return names


def _annotation_fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return "is not an object"
    for key in ("image_id", "category_id"):
        if not _is_int(entry.get(key)):
            return f"has {key} {entry.get(key)!r}"
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return f"has bbox {str(box)[:60]}, not [x, y, width, height]"
    if (crowd := entry.get("iscrowd", 0)) not in (0, 1):
        return f"has iscrowd {crowd!r}, not 0 or 1"
    return None


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # An integer of more than 300 digits is no float; NaN and infinity are found later.
    return isinstance(value, float) or (_is_int(value) and abs(value) < 2**63)
