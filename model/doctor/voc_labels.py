"""A folder of Pascal VOC XML files read leniently: every fault is counted, none stops it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from model.data.sources import VocSource
from model.doctor.findings import Findings
from model.doctor.labels import Labels, LabelsBuilder
from model.errors import InputError
from model.pictures import PICTURE_SUFFIXES

SIDES = ("xmin", "ymin", "xmax", "ymax")


def voc_labels(source: VocSource, findings: Findings) -> Labels:
    """The labels of a VOC folder; what `model.data.voc.read_voc` refuses becomes findings.

    Raises InputError only where there is no XML file to audit.
    """
    builder = LabelsBuilder(findings.where, source)
    for path in _listed(source):
        try:
            root = ElementTree.parse(path).getroot()
        except FileNotFoundError:
            findings.add("entry-malformed", [f"{path.name}: listed in {source.names}, but missing"])
            continue
        except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
            findings.add("entry-malformed", [f"{path.name}: not an XML file ({error})"])
            continue
        _read(path, root, builder, source, findings)
    return builder.labels(None)


def _listed(source: VocSource) -> list[Path]:
    if source.names is None:
        files = sorted(source.annotations.glob("*.xml"))
    else:
        try:
            lines = source.names.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise InputError(f"{source.names}: cannot read the list of names ({error})") from None
        files = [source.annotations / f"{line.split()[0]}.xml" for line in lines if line.strip()]
    if not files:
        raise InputError(
            f"{source.annotations}: no VOC annotation (*.xml) here; for COCO give the JSON file"
        )
    return files


def _read(
    path: Path,
    root: ElementTree.Element,
    builder: LabelsBuilder,
    source: VocSource,
    findings: Findings,
) -> None:
    name = (root.findtext("filename") or "").strip()
    if not name:
        findings.add("entry-malformed", [f"{path.name}: no <filename>"])
        name = _picture_of(path.stem, source.images)
    sides = [_number(root.findtext(f"size/{side}")) for side in ("height", "width")]
    whole = [int(side) for side in sides if side and 1 <= side < 2**31 and side.is_integer()]
    size = (whole[0], whole[1]) if len(whole) == 2 else None
    if size is None:
        findings.add("entry-malformed", [f"{path.name}: no whole <size>"])
    picture = builder.picture(name, size)
    for number, entry in enumerate(root.iter("object")):
        label = (entry.findtext("name") or "").strip()
        corners = [_number(entry.findtext(f"bndbox/{side}")) for side in SIDES]
        if not label or None in corners:
            missing = "<name>" if not label else "<bndbox> of four numbers"
            findings.add("entry-malformed", [f"{path.name}: object {number + 1} has no {missing}"])
            continue
        x1, y1, x2, y2 = (corner or 0.0 for corner in corners)
        shift = source.first_pixel
        difficult = (entry.findtext("difficult") or "0").strip() == "1"
        builder.box((x1 - shift, y1 - shift, x2, y2), picture, label, difficult)


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _picture_of(stem: str, images: Path) -> str:
    names = (stem + suffix for suffix in PICTURE_SUFFIXES)
    return next((name for name in names if (images / name).is_file()), stem)
