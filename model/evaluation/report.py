"""An evaluation as a folder: one page that needs nothing from elsewhere, and what it was made of.

Needs matplotlib.
"""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, tostring

from model.evaluation.assessment import Assessment
from model.evaluation.coco_metrics import ImageDetections, coco_results
from model.evaluation.outcomes import worst_images
from model.evaluation.picture import COLOURS, CROWD, counts_text, name_of, picture_svg
from model.evaluation.plots import plot_class, plot_confusion
from model.files import whole_file
from model.page.folder import PAGE, check_page_folder, generator
from model.page.markup import number, table, tag, write_html
from model.page.style import STYLE

COMMAND = "retinaserve evaluate"
METRICS_FILE, DETECTIONS_FILE = "metrics.json", "detections.json"
PLOTS, WORST = "plots", "worst"
PARTS = {PAGE, METRICS_FILE, DETECTIONS_FILE, PLOTS, WORST}

MEANING = {
    "AP": "mean over IoU .50 to .95",
    "AP50": "at IoU .50",
    "AP75": "at IoU .75",
    "APs": "small objects, below 32² px",
    "APm": "medium objects",
    "APl": "large objects, above 96² px",
    "AR1": "recall, 1 detection per image",
    "AR10": "recall, 10 per image",
    "AR100": "recall, 100 per image",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
}

OPEN_CLASSES = 12
"""The curves of more classes begin folded."""

OWN_STYLE = """
th.number { text-align: right; padding-left: 8px; }
summary { margin-bottom: 8px; }
.tiles { display: grid; grid-template-columns: repeat(6, 1fr); gap: 10px; margin: 18px 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 12px; }
.tiles b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tiles small { color: var(--soft); display: block; line-height: 1.25; }
@media (max-width: 760px) { .tiles { grid-template-columns: repeat(2, 1fr); } }
tr.all td { font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 18px; }
img.plot { width: 100%; height: auto; background: #fff; border-radius: 8px; padding: 6px;
  border: 1px solid var(--line); }
img.confusion { width: auto; max-width: 100%; max-height: 90vh; }
.worst { margin: 0 0 30px; }
.worst svg { width: 100%; height: auto; max-height: 92vh; display: block; background: #15171b;
  border-radius: 6px; }
.legend { flex-wrap: wrap; gap: 4px 20px; position: sticky; top: 0; padding: 8px 0;
  background: var(--paper); max-width: none; }
.key i { display: inline-block; width: 14px; height: 12px; margin-right: 6px;
  vertical-align: -1px; border: 3px solid; outline: 1px solid #0008; }
.key::before { display: none; }
"""


def check_report_folder(out: Path) -> None:
    """InputError unless `out` is new, an empty folder, or an earlier report and nothing else."""
    check_page_folder(out, "--report", COMMAND, PARTS)


def write_report(
    out: Path,
    assessment: Assessment,
    detections: Mapping[int, ImageDetections],
    document: Mapping[str, Any],
    worst: int,
) -> Path:
    """The path of the page; see `docs/evaluation.md` for the folder.

    An earlier report there is replaced. `document`: the assessment's, with `subject`: what was
    evaluated, facts by name.
    """
    check_report_folder(out)
    for old in (PLOTS, WORST):
        shutil.rmtree(out / old, ignore_errors=True)
    _write_json(out / METRICS_FILE, document)
    data = assessment.data
    _write_json(out / DETECTIONS_FILE, coco_results(data.coco, data.classes, detections))
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            generator(COMMAND),
            tag("title", f"Evaluation of {document['subject']['subject']}"),
            tag("style", STYLE + OWN_STYLE),
        ),
        tag(
            "body",
            tag(
                "main",
                *_header(document),
                *_classes(document),
                *_plots(out / PLOTS, assessment),
                *_confusion(out / PLOTS, assessment, document),
                *_worst(out / WORST, assessment, worst),
                tag(
                    "footer",
                    f"Written by {COMMAND}. The pictures lie inside this file: share it as you "
                    "would share them.",
                ),
            ),
        ),
        lang="en",
    )
    write_html(out / PAGE, page)
    return out / PAGE


def _header(document: Mapping[str, Any]) -> Iterator[Element]:
    subject = document["subject"]
    yield tag("h1", f"Evaluation of {subject['subject']}")
    facts = [f"{name} {value}" for name, value in subject.items() if name != "subject"]
    facts += [f"{document['images']:,} images", f"{document['boxes']:,} boxes"]
    yield tag("p", " · ".join(facts))
    tiles = (
        tag("div", tag("small", name), tag("b", _text(document[name])), tag("small", meaning))
        for name, meaning in MEANING.items()
    )
    yield tag("div", *tiles, class_="tiles")


def _classes(document: Mapping[str, Any]) -> Iterator[Element]:
    yield tag("h2", "Classes, and which score threshold to use")
    yield tag(
        "p",
        "Each class with the threshold that gives its best F1, and precision and recall there (IoU "
        "at least .5). The last row is one threshold for all; the rest of this page uses it. A "
        "higher one means fewer false alarms, a lower one fewer misses: the curves below show the "
        "price.",
    )
    rates = ("threshold", "precision", "recall", "F1")
    averages = ("AP", "AP50", "AR100")
    rows = [
        [
            tag("code", name),
            number(row["boxes"]),
            *(_cell(row[key]) for key in averages + rates),
        ]
        for name, row in document["classes"].items()
    ]
    whole = {**document, **document["all"]}
    rows.append(
        [tag("b", "all"), number(whole["boxes"]), *(_cell(whole[key]) for key in averages + rates)]
    )
    yield _figures(("boxes", *averages, *rates), rows)


def _plots(folder: Path, assessment: Assessment) -> Iterator[Element]:
    yield tag("h2", "Precision and recall")
    yield tag(
        "p",
        "Left: COCO's precision at each recall, at IoU .50 and .75 and on average over .50 to .95; "
        "a line ends at the most recall that is reached, beyond it AP counts 0. "
        "Right: what each score threshold gives; the dotted line is the threshold of this page.",
    )
    figures = []
    for index, (name, sweep) in enumerate(assessment.by_class.items()):
        path = folder / f"class-{index}.svg"
        plot_class(path, assessment.coco.precision[name], sweep, assessment.threshold)
        figures.append(tag("figure", tag("h3", name), _embedded(path, f"Curves of {name}", "plot")))
    opened = {"open": ""} if len(figures) <= OPEN_CLASSES else {}
    wall = tag("div", *figures, class_="plots")
    yield tag("details", tag("summary", f"curves of {len(figures)} classes"), wall, **opened)


def _confusion(
    folder: Path, assessment: Assessment, document: Mapping[str, Any]
) -> Iterator[Element]:
    path = folder / "confusion.svg"
    plot_confusion(path, document["confusion"])
    yield tag("h2", "What is taken for what")
    yield tag(
        "p",
        f"Detections with a score above {assessment.threshold:g}. Each in turn, best first, takes "
        "the free object that it overlaps with an IoU of at least .5, one of its own class if "
        "there is one. Rows are what the objects are, columns what they were found as; the last "
        "row holds detections of no object, the last column objects that were missed. Blue is "
        "right, orange wrong, darker where it is more of its row (in the last row: of its column).",
    )
    yield _embedded(path, "Confusion table", "plot confusion")
    yield tag("h2", "Errors")
    yield tag(
        "p",
        "Objects: found as another class, or missed. Detections: correct; of the wrong class; a "
        "duplicate of an object that a better one has found; a poor box (IoU .1 to .5 with an "
        "object of its class); on the background.",
    )
    errors = document["errors"]
    columns = list(next(iter(errors.values())))
    rows = [[tag("code", name), *(number(row[c]) for c in columns)] for name, row in errors.items()]
    totals = (number(sum(row[c] for row in errors.values())) for c in columns)
    rows.append([tag("b", "all"), *totals])
    yield _figures(columns, rows)


def _worst(folder: Path, assessment: Assessment, count: int) -> Iterator[Element]:
    wrong = sum(image.errors > 0 for image in assessment.images)
    chosen = worst_images(assessment.images, count)
    yield tag("h2", "The worst images")
    yield tag(
        "p",
        f"{wrong} of {len(assessment.images)} images have an error at this threshold; "
        + (
            f"the {len(chosen)} with the most are shown, labels on the left, detections with "
            "their scores on the right. Point at a box to read what it is."
            if chosen
            else "none is shown."
        ),
    )
    crowds = any(len(image.record.ignored) for image in chosen)
    keys = [kind for kind in COLOURS if kind != CROWD or crowds]
    if chosen:
        yield tag("p", *(_key(kind) for kind in keys), class_="legend")
    for place, image in enumerate(chosen):
        drawing = picture_svg(image, assessment.data.classes, place)
        with whole_file(folder / f"{place + 1:02d}.svg") as part:
            part.write_bytes(tostring(drawing, encoding="utf-8"))
        caption = tag(
            "figcaption",
            tag("code", name_of(image)),
            tag("span", counts_text(image)),
        )
        yield tag("figure", drawing, caption, class_="worst")


def _figures(columns: Iterable[str], rows: Iterable[Iterable[str | Element]]) -> Element:
    """A table of numbers by class, the last row that of all."""
    made = table(["class", *(tag("th", name, class_="number") for name in columns)], rows)
    made.findall(".//tr")[-1].set("class", "all")
    return made


def _key(kind: str) -> Element:
    box = tag("i", style=f"border-color:{COLOURS[kind]}")
    return tag("span", box, str(kind), class_="key")


def _embedded(path: Path, told: str, kind: str) -> Element:
    data = b64encode(path.read_bytes()).decode("ascii")
    return tag("img", src=f"data:image/svg+xml;base64,{data}", alt=told, class_=kind)


def _cell(value: float | None) -> Element:
    return number(float("nan") if value is None else value, 3)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _write_json(path: Path, document: Any) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
