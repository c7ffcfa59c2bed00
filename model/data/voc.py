"""Reader of Pascal VOC XML folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from model.data.records import (
    BadBoxes,
    DataSet,
    Record,
    RecordBuilder,
    as_coco,
    class_index_of,
    refuse_repeated,
)
from model.errors import InputError


def read_voc(
    annotations: Path,
    images: Path,
    classes: Sequence[str] | None = None,
    names: Path | None = None,
    bad_boxes: BadBoxes = "refuse",
    first_pixel: int = 0,
) -> DataSet:
    """The data set of a folder of VOC XML files whose pictures lie in `images`.

    `names`: a file of picture names without suffix, one a line (VOC's ImageSets); default all.
    `first_pixel`: 1 for the official VOC sets, whose corners are 1-based pixel indices, inclusive;
    0 (default) for what annotation tools write today, corners in continuous coordinates.
    Objects marked difficult are ignored in training. Raises InputError that names the file.
    """
    files = _listed(annotations, names)
    parsed = [(path, _parse(path)) for path in files]
    class_list = tuple(
        classes
        or sorted({_text(o, "name", path) for path, root in parsed for o in root.iter("object")})
    )
    rows: list[tuple[Record, str]] = []
    dropped: list[str] = []
    for number, (path, root) in enumerate(parsed, start=1):
        name = _text(root, "filename", path)
        picture = images / name
        if not picture.is_file():
            raise InputError(f"{path}: picture {picture} is missing")
        size = (_side(root, "size/height", path), _side(root, "size/width", path))
        builder = RecordBuilder(str(path), size, bad_boxes)
        for entry in root.iter("object"):
            label = _text(entry, "name", path)
            x1, y1, x2, y2 = (
                _number(entry, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            difficult = (entry.findtext("difficult") or "0").strip() == "1"
            index = class_index_of(label, class_list, str(path))
            builder.add((x1 - first_pixel, y1 - first_pixel, x2, y2), index, difficult, label)
        rows.append((builder.record(number, picture), name))
        dropped += builder.dropped
    refuse_repeated((name for _, name in rows), "picture", str(names or annotations))
    records = [record for record, _ in rows]
    return DataSet(str(annotations), class_list, records, as_coco(rows, class_list), dropped)


def _listed(annotations: Path, names: Path | None) -> list[Path]:
    if names is None:
        files = sorted(annotations.glob("*.xml"))
    else:
        try:
            lines = names.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise InputError(f"{names}: cannot read the list of names ({error})") from None
        files = [annotations / f"{line.split()[0]}.xml" for line in lines if line.strip()]
    if not files:
        raise InputError(f"{annotations}: no VOC annotation (*.xml) here")
    return files


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file") from None
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: not an XML file ({error})") from None


def _text(element: ElementTree.Element, key: str, path: Path) -> str:
    text = (element.findtext(key) or "").strip()
    if not text:
        raise InputError(f"{path}: <{element.tag}> has no <{key}>")
    return text


def _number(element: ElementTree.Element, key: str, path: Path) -> float:
    text = _text(element, key, path)
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}: <{key}> is {text!r}, not a number") from None


def _side(element: ElementTree.Element, key: str, path: Path) -> int:
    side = _number(element, key, path)
    if not (side >= 1 and side.is_integer()):
        raise InputError(f"{path}: <{key}> is {side:g}; accepted are whole pixels from 1")
    return int(side)
