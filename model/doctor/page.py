"""The report as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from model.doctor.anchor_exam import AnchorExam
from model.doctor.catalogue import Severity
from model.doctor.charts import iou_histogram, size_scatter
from model.doctor.coverage import Coverage
from model.doctor.examination import Examination
from model.doctor.findings import Finding
from model.doctor.gallery import Wall
from model.doctor.proposal import anchors_toml
from model.doctor.summary import verdict
from model.geometry import LEVELS
from model.page.folder import generator
from model.page.markup import number, prose, table, tag
from model.page.style import STYLE

COMMAND = "retinaserve doctor"

OWN_STYLE = """
.legend { flex-wrap: wrap; gap: 4px 22px; }
.sets td:not(.number) { white-space: normal; }
@media (max-width: 600px) {
  th { white-space: normal; vertical-align: bottom; }
  td.bar { width: 40px; min-width: 40px; }
}
"""

FIGURES = ("boxes", "reached", "mean best IoU", "low-quality only", "no anchor")
"""What tables say of a coverage."""

OPEN_CLASSES = 25
"""Longer tables of classes begin folded."""


def report_page(exam: Examination, walls: Sequence[Wall]) -> Element:
    """The whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        generator(COMMAND),
        tag("title", f"Doctor: {exam.title}"),
        tag("style", STYLE + OWN_STYLE),
    )
    parts = {
        "Findings": [_card(finding) for finding in exam.findings] or [tag("p", "None.")],
        "Pictures": [_wall(wall) for wall in walls],
        "Classes": list(_classes(exam)),
        "Anchors": list(_anchors(exam.anchors, exam.classes)) if exam.anchors else [],
    }
    there = {name: elements for name, elements in parts.items() if elements}
    links = [tag("a", name, href=f"#{name.lower()}") for name in there]
    sections = [
        tag("section", tag("h2", name), *elements, id=name.lower())
        for name, elements in there.items()
    ]
    main = tag("main", _header(exam), tag("nav", *links), *sections, _footer())
    return tag("html", head, tag("body", main), lang="en")


def _header(exam: Examination) -> Element:
    worst = exam.findings[0].severity if exam.findings else Severity.NOTE
    counts = [
        tag("li", tag("b", str(count)), f" {severity}{'s' * (count != 1)}", class_=severity.value)
        for severity, count in ((severity, exam.count(severity)) for severity in Severity)
    ]
    return tag(
        "header",
        tag("h1", f"Doctor's report: {exam.title}"),
        tag("p", verdict(exam), class_=f"verdict {'well' if worst is Severity.NOTE else worst}"),
        tag("ul", *counts, class_="counts"),
        _data(exam),
    )


def _data(exam: Examination) -> Element:
    rows = [
        (
            data.labels.where or "data",
            tag("td", tag("code", str(data.labels.source.annotations))),
            tag("td", tag("code", str(data.labels.source.images))),
            number(len(data.labels.pictures)),
            number(len(data.labels.boxes)),
            number(int(data.learnt.sum())),
        )
        for data in exam.data
    ]
    head = ("", "labels", "pictures in", "pictures", "boxes", "learnt from")
    return tag("div", table(head, rows), class_="sets")


def _card(finding: Finding) -> Element:
    card = tag(
        "article",
        tag(
            "h3",
            tag("span", finding.severity.value, class_=f"chip {finding.severity.value}"),
            *([tag("span", finding.where, class_="chip")] if finding.where else []),
            tag("span", *prose(finding.sentence)),
            tag("b", f"{finding.count:,}", class_="count"),
        ),
        tag("p", tag("b", "What to do: "), *prose(finding.advice)),
        class_=finding.severity.value,
    )
    if finding.examples:
        more = finding.count - len(finding.examples)
        items = [tag("li", tag("code", example)) for example in finding.examples]
        items += [tag("li", f"and {more:,} more")] if more > 0 else []
        card.append(tag("ul", *items, class_="examples"))
    return card


def _wall(wall: Wall) -> Element:
    figures = [
        tag(
            "figure",
            tag("img", src=figure.uri, alt=f"{figure.name} with its boxes", loading="lazy"),
            tag("figcaption", tag("code", figure.name), tag("span", figure.caption)),
        )
        for figure in wall.figures
    ]
    shown = tag("div", *figures, class_="wall")
    return tag("div", tag("h3", wall.title), tag("p", wall.text), shown)


def _classes(exam: Examination) -> Iterator[Element]:
    boxes, ids = exam.boxes_of_class.tolist(), exam.category_ids
    pictures = exam.pictures_of_class
    val = [data.count_boxes(exam.classes) for data in exam.data if data.is_val]
    most = max([1, *boxes])
    rows = [
        [
            number(index),
            *([tag("td", str(ids.get(name, "")), class_="number")] if ids else []),
            tag("code", name),
            number(boxes[index]),
            tag("td", tag("i", style=f"width:{boxes[index] / most:.1%}"), class_="bar"),
            number(pictures[index]),
            *(number(counts[index]) for counts in val),
        ]
        for index, name in enumerate(exam.classes)
    ]
    head = ["index", *(["category id"] if ids else []), "class", "boxes", "", "pictures"]
    head += ["boxes in val" for _ in val]
    own = "; category ids are the file's own" if ids else ""
    yield tag("p", f"The head counts classes from 0 in this order{own}.")
    yield _folded(table(head, rows), len(rows))


def _anchors(exam: AnchorExam, classes: Sequence[str]) -> Iterator[Element]:
    coverage, rule = exam.coverage, exam.conditions.matching
    low_quality = (
        "A box without one gets the best there is (low-quality matches): it is learnt, from few "
        "examples."
        if rule.low_quality
        else "A box without one is background: the recipe has low_quality = false."
    )
    least, middle, most = np.percentile(coverage.positives_of_picture, [0, 50, 100]).tolist()
    yield tag(
        "p",
        f"{len(coverage.best_iou):,} training boxes of {len(exam.pictures):,} pictures at scale "
        f"{exam.conditions.scale}, not augmented, against {exam.conditions.anchors.per_location} "
        f"anchors at each location. Anchors with an IoU of {rule.foreground:g} or more answer for "
        f"a box. {low_quality} A picture has {middle:,.0f} positive anchors (median; least "
        f"{least:,.0f}, most {most:,.0f}).",
    )
    scatter = size_scatter(exam.sizes, coverage.reached, exam.conditions.anchors)
    yield tag("div", scatter, iou_histogram(coverage), class_="charts")
    keys = {
        "reached": f"box whose best anchor has an IoU of {rule.foreground:g} or more",
        "missed": f"box whose best anchor is below {rule.foreground:g}",
        "anchor": "shape of an anchor",
    }
    yield tag("p", *(tag("span", t, class_=f"key {k}") for k, t in keys.items()), class_="legend")
    yield tag("p", "By class, and by the level of each box's best anchor: boxes, share reached.")
    rows = [_coverage_row(tag("b", "all"), coverage)]
    rows += [
        _coverage_row(tag("code", name), coverage.part(mask))
        for name, mask in _masks(exam, classes)
    ]
    levels = [f"P{level}" for level in LEVELS]
    yield _folded(table(["class", *FIGURES, *levels], rows), len(rows))
    yield from _proposal(exam, classes)


def _masks(exam: AnchorExam, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The boxes of each class that has some, bool [N]."""
    for index, name in enumerate(classes):
        if (mask := exam.classes == index).any():
            yield name, mask


def _coverage_row(name: Element, part: Coverage) -> list[Element]:
    levels = [part.level == place for place in range(len(LEVELS))]
    shares = [_share(part.share_reached(there), f"{there.sum():,} · ") for there in levels]
    return [name, *_figures(part), *shares]


def _figures(coverage: Coverage) -> list[Element]:
    """The cells below FIGURES."""
    return [
        number(len(coverage.best_iou)),
        _share(coverage.share_reached(), ""),
        number(float(coverage.best_iou.mean()), 3),
        number(int(coverage.rescued.sum())),
        number(int(coverage.without.sum())),
    ]


def _share(share: float, before: str) -> Element:
    """A cell shaded by how much is missing; empty where there is no box."""
    if np.isnan(share):
        return tag("td")
    shade = f"background:color-mix(in srgb, var(--missed) {70 * (1 - share):.0f}%, transparent)"
    return tag("td", f"{before}{share:.0%}", class_="number", style=shade)


def _proposal(exam: AnchorExam, classes: Sequence[str]) -> Iterator[Element]:
    if exam.search is None:
        return
    yield tag("h3", "What would fit better")
    if exam.proposed:
        spec, better = exam.proposed
        now = [number(exam.conditions.anchors.per_location), *_figures(exam.coverage)]
        then = [number(spec.per_location), *_figures(better)]
        head = ["", "at a location", *FIGURES]
        yield table(head, [["anchors of now", *now], ["anchors proposed", *then]])
        yield tag("p", exam.search_text)
        yield tag("p", "For the recipe of a model that does not start from trained heads:")
        yield tag("pre", anchors_toml(spec))
        rows = [
            [tag("code", name), *_change(exam.coverage.part(mask), better.part(mask))]
            for name, mask in _masks(exam, classes)
        ]
        head = ["class", "reached now", "proposed", "mean best IoU now", "proposed"]
        yield _folded(table(head, rows), len(rows))
    else:
        yield tag("p", f"Other anchors: {exam.search_text}")
    if exam.other_scales:
        yield tag("p", f"Larger pictures with the anchors of now reach {exam.scales_text}.")


def _change(now: Coverage, then: Coverage) -> list[Element]:
    parts = (now, then)
    ious = [number(float(part.best_iou.mean()), 3) for part in parts]
    return [*(_share(part.share_reached(), "") for part in parts), *ious]


def _folded(body: Element, rows: int) -> Element:
    summary = tag("summary", f"all {rows} rows")
    details = tag("details", summary, body)
    if rows <= OPEN_CLASSES:
        details.set("open", "")
    return details


def _footer() -> Element:
    said = (
        f"Written by {COMMAND}. The thumbnails are of your pictures and lie inside this file: "
        "share it as you would share them."
    )
    return tag("footer", tag("p", said))
