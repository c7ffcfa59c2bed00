"""Reader of COCO instance JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.data.records import BadBoxes, DataSet, RecordBuilder, class_index_of
from model.errors import InputError

_KEYS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
    "categories": {"id": int, "name": str},
}
"""What each entry of a COCO instance file must hold."""


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
    """
    coco = _load(annotations)
    names = {entry["id"]: entry["name"] for entry in coco["categories"]}
    class_list = tuple(classes or [names[key] for key in sorted(names)])
    of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in coco["annotations"]:
        of_image[entry["image_id"]].append(entry)
    ids = [entry["id"] for entry in coco["images"]]
    if len(set(ids)) != len(ids):
        raise InputError(f"{annotations}: two images share an id; ids must be distinct")
    if unknown := sorted(of_image.keys() - set(ids)):
        raise InputError(
            f"{annotations}: annotations of image id {unknown[0]}, which is not listed"
        )
    records, dropped = [], []
    for entry in coco["images"]:
        path = images / entry["file_name"]
        if not path.is_file():
            raise InputError(f"{annotations}: picture {path} is missing")
        size = (entry["height"], entry["width"])
        builder = RecordBuilder(f"{annotations}: {entry['file_name']}", size, bad_boxes)
        for note in of_image[entry["id"]]:
            if note["category_id"] not in names:
                raise InputError(
                    f"{annotations}: annotation {note.get('id')} has category id "
                    f"{note['category_id']}; the file's categories are {sorted(names)}"
                )
            label = names[note["category_id"]]
            index = class_index_of(label, class_list, str(annotations))
            x, y, width, height = note["bbox"]
            box = (x, y, x + width, y + height)
            builder.add(box, index, bool(note.get("iscrowd", 0)), label)
        records.append(builder.record(entry["id"], path))
        dropped += builder.dropped
    return DataSet(str(annotations), class_list, records, coco, dropped)


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
            for key, accepted in keys.items():
                if not isinstance(entry, dict) or key not in entry:
                    raise InputError(f"{path}: {section}[{number}] has no {key!r}")
                if not isinstance(entry[key], accepted):
                    raise InputError(f"{path}: {section}[{number}] has {key} {entry[key]!r}")
            if section == "annotations" and not _is_bbox(entry["bbox"]):
                raise InputError(f"{path}: annotations[{number}]: bbox must be [x, y, w, h]")
    return coco


def _is_bbox(value: list[Any]) -> bool:
    return len(value) == 4 and all(isinstance(number, int | float) for number in value)
