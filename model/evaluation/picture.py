"""A picture with its labels and, beside it, with its detections, as SVG."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO
from xml.etree.ElementTree import Element

from PIL import Image

from model.evaluation.outcomes import NOBODY, ImageOutcome, Outcome
from model.page.markup import tag

PANEL = 640
"""Longer side of a panel, in the drawing's units."""

GAP = 12

EDGE = 90
"""What a label needs to the right of its box's left side."""

EM = 0.65
"""About the width of a letter, in font sizes; the reader's own font decides."""

EMBEDDED_PX = 960
"""Longer side of the picture inside the drawing at most."""

MISSED, CROWD = "missed", "crowd region"

COLOURS = {
    Outcome.CORRECT: "#2ecc71",
    Outcome.WRONG_CLASS: "#ff9f1c",
    Outcome.DUPLICATE: "#c77dff",
    Outcome.POOR_BOX: "#4cc9f0",
    Outcome.BACKGROUND: "#ff4d4d",
    MISSED: "#ffe04d",
    CROWD: "#dddddd",
}
"""Apart from each other and from most pictures; every line has a dark seam."""

QUIET = (Outcome.CORRECT, Outcome.IGNORED)
"""Drawn thin and with little text: the eye is to find the others."""


def picture_svg(image: ImageOutcome, classes: Sequence[str], number: int) -> Element:
    """Two panels: the labels, with the missed objects, and the detections, with their errors.

    `number` is the drawing's own among those of a page.
    """
    picture = image.record.picture()
    factor = PANEL / max(picture.size)
    width, height = (side * factor for side in picture.size)
    name = f"picture-{number}"
    shown = {"width": f"{width:.1f}", "height": f"{height:.1f}"}
    left = tag(
        "g",
        tag("image", id=name, href=_data_uri(picture), **shown),
        *_boxes(_labels(image, classes), factor, width),
    )
    right = tag(
        "g",
        tag("use", href=f"#{name}"),
        *_boxes(_detections(image, classes), factor, width),
        transform=f"translate({width + GAP:.1f} 0)",
    )
    return tag(
        "svg",
        left,
        right,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {2 * width + GAP:.1f} {height:.1f}",
        font_family="system-ui, 'DejaVu Sans', sans-serif",
        font_size="12",
    )


Box = tuple[list[float], str, str, str]
"""xyxy image pixels, kind (a key of COLOURS), what is written at it, what the pointer shows."""


def _labels(image: ImageOutcome, classes: Sequence[str]) -> Iterator[Box]:
    for region in image.record.ignored.tolist():
        yield region, CROWD, "", "crowd region: detections here are not counted"
    rows = zip(image.record.boxes.tolist(), image.record.classes, image.found_by, strict=True)
    for box, index, finder in rows:
        kind: str = MISSED if finder == NOBODY else image.outcomes[finder]
        label = classes[index]
        told = f"{label}: {'missed' if finder == NOBODY else 'found'}"
        if kind == Outcome.WRONG_CLASS:
            told = f"{label}, found as {classes[image.detections.classes[finder]]}"
        yield box, kind, "" if kind == Outcome.CORRECT else label, told


def _detections(image: ImageOutcome, classes: Sequence[str]) -> Iterator[Box]:
    boxes, scores, labels = (part.tolist() for part in image.detections)
    # The best last: they lie on top.
    for index in reversed(range(len(boxes))):
        kind, label, score = image.outcomes[index], classes[labels[index]], f"{scores[index]:.2f}"
        told = f"{label} {score}: {kind}"
        if kind == Outcome.WRONG_CLASS:
            told += f", labelled {classes[image.record.classes[image.object_of[index]]]}"
        yield boxes[index], kind, score if kind in QUIET else f"{label} {score}", told


def _boxes(boxes: Iterator[Box], factor: float, width: float) -> Iterator[Element]:
    """All boxes, and above them what is written at them, where it hides no other text.

    Of texts that overlap the later box's is written: among detections, the better one's.
    """
    rows = list(boxes)
    for (x1, y1, x2, y2), kind, _, told in rows:
        place = {
            "x": f"{x1 * factor:.1f}",
            "y": f"{y1 * factor:.1f}",
            "width": f"{(x2 - x1) * factor:.1f}",
            "height": f"{(y2 - y1) * factor:.1f}",
        }
        line = 1.5 if kind in QUIET else 2.6
        dashes = {"stroke_dasharray": "6 4"} if kind in (CROWD, Outcome.IGNORED) else {}
        seam = {"fill": "none", "stroke": "#000", "stroke_opacity": 0.5}
        yield tag("rect", **place, **seam, stroke_width=line + 1.2)
        hover = tag("title", told)
        yield tag(
            "rect", hover, **place, fill="#000", fill_opacity=0,
            stroke=COLOURS.get(kind, COLOURS[CROWD]), stroke_width=line, **dashes,
        )  # fmt: skip
    written: list[tuple[float, float, float, float]] = []
    for (x1, y1, x2, _), kind, text, _ in reversed(rows):
        if not text:
            continue
        thin = kind in QUIET
        size = 11 if thin else 14
        # Near the right edge the text goes to the left.
        at_edge = x1 * factor > width - EDGE
        x = x2 * factor - 3 if at_edge else x1 * factor + 3
        y = max(11.0, y1 * factor + 12)
        long = EM * size * len(text)
        left = x - long if at_edge else x
        right, top, bottom = left + long, y - size, y + 3
        if all(
            right <= x0 or x9 <= left or bottom <= y0 or y9 <= top for x0, y0, x9, y9 in written
        ):
            written.append((left, top, right, bottom))
            yield tag(
                "text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor="end" if at_edge else "start",
                fill="#fff" if thin else COLOURS.get(kind, COLOURS[CROWD]), font_size=size,
                font_weight=400 if thin else 600, paint_order="stroke", stroke="#111",
                stroke_width=2.5, stroke_linejoin="round", pointer_events="none",
            )  # fmt: skip


def _data_uri(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((EMBEDDED_PX, EMBEDDED_PX))
    out = BytesIO()
    small.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + b64encode(out.getvalue()).decode("ascii")


def counts_text(image: ImageOutcome) -> str:
    """The image's errors in words, for example: 4 errors: 1 duplicate, 3 missed."""
    told = ", ".join(f"{count} {kind}" for kind, count in image.counts().items())
    return f"{image.errors} error{'' if image.errors == 1 else 's'}: {told}"


def name_of(image: ImageOutcome) -> str:
    """The picture's name: its file, or where it was drawn from."""
    source = image.record.source
    return getattr(source, "name", None) or str(source)
