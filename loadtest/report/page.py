"""A study as one HTML page that needs nothing from elsewhere: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from loadtest.report.figures import figures_of, runs_over_time
from loadtest.report.sheets import Seen, Sheet, seen_of, sheets_of
from loadtest.report.style import OWN_STYLE
from loadtest.report.verdict import verdict_of
from loadtest.report.words import number_words, share_words
from loadtest.traffic.trial import Study
from model.page.folder import generator
from model.page.markup import table, tag, write_html
from model.page.style import STYLE

COMMAND = "retinaserve loadtest"

TITLES = {
    "load": "Load test",
    "max-qps": "The highest load within the target",
    "scales": "Latency by image scale",
    "rates": "Latency by load",
    "mlperf": "MLPerf load test",
}

NOTES = (
    "Latency is from the moment that a request was meant to start to the end of its answer, so "
    "that a server which stalls is charged for everybody who came meanwhile. A caller waits for "
    "its answer before it asks again: what callers see is the latency of a server that is never "
    "asked more than it can do. The truth lies in the ranges with 95% confidence, as far as one "
    "run can tell; requests that wait in the same queue are not taken for independent."
)


def write_page(path: Path, study: Study) -> None:
    """Writes the page of a study, whole or not at all."""
    write_html(path, page_of(study))


def page_of(study: Study) -> Element:
    """The whole page."""
    seen = seen_of(study)
    title = TITLES[study.kind]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        generator(COMMAND),
        tag("title", title),
        tag("style", STYLE + OWN_STYLE),
    )
    sheets = sheets_of(study, seen)
    runs = sheets[:1] if len(seen) > 1 else []
    main = tag(
        "main",
        *_header(title, study, seen),
        *(element for sheet in runs for element in (tag("h2", sheet.title), _sheet(sheet))),
        *_charts(study, seen),
        *_tables(sheets[len(runs) :]),
        tag("footer", tag("p", NOTES), tag("p", f"Written by {COMMAND}.")),
    )
    return tag("html", head, tag("body", main), lang="en")


def _header(title: str, study: Study, seen: Sequence[Seen]) -> Iterator[Element]:
    verdict = verdict_of(study, seen)
    yield tag("h1", title)
    yield tag("p", verdict.sentence, class_=f"verdict {verdict.tone}")
    for warning in study.warnings:
        chip = tag("span", "warning", class_="chip warning")
        yield tag("article", tag("p", chip, warning), class_="warning")
    if len(seen) == 1:
        tiles = _tiles(seen[0]).items()
        yield tag(
            "div",
            *(tag("div", tag("small", name), tag("b", value)) for name, value in tiles),
            class_="tiles",
        )
    yield _facts(study.facts)


def _tiles(one: Seen) -> Mapping[str, str]:
    summary = one.summary
    tiles = {"answers/s": number_words(summary.answered_per_s.value)}
    tiles |= {
        f"p{percent:g}, ms": number_words(interval.value)
        for percent, interval in summary.percentiles_ms.items()
        if percent != 95.0
    }
    if summary.good is not None:
        tiles["within the target"] = share_words(summary.good.value)
    tiles["failed"] = share_words(summary.failed / summary.sent) if summary.sent else "-"
    return tiles


def _facts(facts: Mapping[str, str]) -> Element:
    rows = [
        [name, tag("code", value) if name == "command" else value] for name, value in facts.items()
    ]
    return tag("div", table([], rows), class_="facts")


def _charts(study: Study, seen: Sequence[Seen]) -> Iterator[Element]:
    figures = list(figures_of(study, seen))
    if figures:
        yield tag("h2", "Charts")
        yield tag("div", *figures, class_="charts")
    runs = list(runs_over_time(seen))
    if runs:
        wall = tag("div", *runs, class_="charts")
        yield tag("details", tag("summary", f"Each of the {len(runs)} runs over time"), wall)


def _tables(sheets: Sequence[Sheet]) -> Iterator[Element]:
    if sheets:
        wall = [tag("div", tag("h3", sheet.title), _sheet(sheet)) for sheet in sheets]
        yield tag("h2", "Figures")
        yield tag("div", *wall, class_="sheets")


def _sheet(sheet: Sheet) -> Element:
    head = [tag("th", name, class_="number") if n else name for n, name in enumerate(sheet.head)]
    rows = [
        [tag("td", text, class_="number") if n else text for n, text in enumerate(row)]
        for row in sheet.rows
    ]
    made = table(head if any(sheet.head) else [], rows)
    # What scrolls must be reached with the keyboard too.
    made.attrib |= {"tabindex": "0", "role": "region", "aria-label": sheet.title}
    return made
