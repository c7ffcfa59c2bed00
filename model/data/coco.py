"""Reader of COCO instance JSON."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.data.records import (
    BadBoxes,
    DataSet,
    Record,
    RecordBuilder,
    class_index_of,
    refuse_repeated,
)
from model.errors import InputError

_KEYS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
    "categories": {"id": int, "name": str},
}
"""What each entry of a COCO instance file must hold."""

_ACCEPTED = {int: "a whole number", str: "a text", list: "[x, y, width, height]"}


def read_coco(
    annotations: Path,
    images: Path,
    classes: Sequence[str] | None = None,
    bad_boxes: BadBoxes = "refuse",
) -> DataSet:
    """The data set of a COCO JSON file whose pictures lie in `images`.

    Category ids may be sparse: names decide the class index. Without `classes` the file's own
    categories in id order are the list. Boxes are xywh without +1; `iscrowd` regions are ignored
    in training. Raises InputError that names the entry for anything missing or out of place.

    The data set's own dictionary keeps image and category ids and boxes as they stand, numbers the
    annotations anew, and has neither dropped boxes nor outlines. An `area` that is missing or not
    positive, as some tools write it where there is no outline, is the box's.
    """
    coco = _load(annotations)
    where = str(annotations)
    refuse_repeated((entry["id"] for entry in coco["categories"]), "category id", where)
    refuse_repeated((entry["name"] for entry in coco["categories"]), "category", where)
    refuse_repeated((entry["id"] for entry in coco["images"]), "image id", where)
    refuse_repeated((entry["file_name"] for entry in coco["images"]), "picture", where)
    names = {entry["id"]: entry["name"] for entry in coco["categories"]}
    class_list = tuple(classes or [names[key] for key in sorted(names)])
    of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in coco["annotations"]:
        of_image[entry["image_id"]].append(entry)
    if unknown := sorted(of_image.keys() - {entry["id"] for entry in coco["images"]}):
        raise InputError(f"{where}: annotations of image id {unknown[0]}, which is not listed")
    records: list[Record] = []
    kept: list[dict[str, Any]] = []
    dropped: list[str] = []
    for entry in coco["images"]:
        path = images / entry["file_name"]
        if not path.is_file():
            raise InputError(f"{where}: picture {path} is missing")
        size = (entry["height"], entry["width"])
        builder = RecordBuilder(f"{where}: {entry['file_name']}", size, bad_boxes)
        for note in of_image[entry["id"]]:
            if note["category_id"] not in names:
                raise InputError(
                    f"{where}: annotation {note.get('id')} has category id "
                    f"{note['category_id']}; the file's categories are {sorted(names)}"
                )
            label = names[note["category_id"]]
            index = class_index_of(label, class_list, where)
            x, y, width, height = note["bbox"]
            crowd = bool(note.get("iscrowd", 0))
            if builder.add((x, y, x + width, y + height), index, crowd, label):
                kept.append(_note(note, len(kept) + 1))
        records.append(builder.record(entry["id"], path))
        dropped += builder.dropped
    return DataSet(where, class_list, records, {**coco, "annotations": kept}, dropped)


def _note(note: dict[str, Any], number: int) -> dict[str, Any]:
    """What evaluation needs of an annotation: COCO's outlines alone would fill gigabytes."""
    area = note.get("area")
    known = isinstance(area, int | float) and 0 < area < math.inf
    return {
        "id": number,
        "image_id": note["image_id"],
        "category_id": note["category_id"],
        "bbox": note["bbox"],
        "area": area if known else note["bbox"][2] * note["bbox"][3],
        "iscrowd": int(note.get("iscrowd", 0)),
    }


def _load(path: Path) -> dict[str, Any]:
    try:
        coco: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a COCO JSON file ({error})") from None
    for section, keys in _KEYS.items():
        entries = coco.get(section) if isinstance(coco, dict) else None
        if not isinstance(entries, list):
            raise InputError(f"{path}: not a COCO instance file: it has no list {section!r}")
        for number, entry in enumerate(entries):
            where = f"{path}: {section}[{number}]"
            for key, accepted in keys.items():
                if not isinstance(entry, dict) or key not in entry:
                    raise InputError(f"{where} has no {key!r}")
                if not isinstance(entry[key], accepted) or isinstance(entry[key], bool):
                    raise InputError(
                        f"{where} has {key} {entry[key]!r}; accepted is {_ACCEPTED[accepted]}"
                    )
            if section == "images" and min(entry["width"], entry["height"]) < 1:
                raise InputError(
                    f"{where} is {entry['width']}x{entry['height']}; accepted are pixels from 1"
                )
            if section == "annotations" and not _is_bbox(entry["bbox"]):
                raise InputError(f"{where}: bbox must be [x, y, width, height]")
            if section == "annotations" and entry.get("iscrowd", 0) not in (0, 1):
                raise InputError(f"{where} has iscrowd {entry['iscrowd']!r}; accepted are 0 and 1")
    return coco


def _is_bbox(value: list[Any]) -> bool:
    return len(value) == 4 and all(isinstance(number, int | float) for number in value)
