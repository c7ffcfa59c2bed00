"""A study on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadtest.report.sheets import Sheet, seen_of, sheets_of
from loadtest.report.verdict import Tone, verdict_of
from loadtest.traffic.trial import Study

PLAIN_WIDTH = 120
"""Columns of a report that goes into a file or a pipe."""

COLOURS: Mapping[Tone, str] = {"well": "green", "note": "", "warning": "yellow", "error": "red"}


def print_study(study: Study, console: Console | None = None) -> None:
    """Prints what was found: warnings, the answer in a sentence, the figures."""
    console = console or Console()
    lines = not console.is_terminal  # who reads them breaks them
    if lines:
        console.width = PLAIN_WIDTH
    seen = seen_of(study)
    verdict = verdict_of(study, seen)
    for warning in study.warnings:
        console.print(Text.assemble(("! ", "bold yellow"), warning), soft_wrap=lines)
    console.print(Text(verdict.sentence, f"bold {COLOURS[verdict.tone]}"), soft_wrap=lines)
    shown = [sheet_table(sheet) for sheet in sheets_of(study, seen)]
    console.print(Columns(shown, padding=(0, 4, 0, 0)))


def sheet_table(sheet: Sheet, figures: bool = True) -> RenderableType:
    """A sheet below its title."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        show_header=any(sheet.head),
        header_style="dim",
    )
    for number, name in enumerate(sheet.head):
        table.add_column(name, justify="right" if number and figures else "left")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return Group("", Text(sheet.title, "bold"), table)
