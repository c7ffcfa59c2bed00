from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.report.table import PLAIN_WIDTH, print_study
from loadtest.traffic.trial import Study
from tests.loadtest.report.studies import EVERY_KIND, FACTS, rates_study


def printed(study: Study, **options: object) -> str:
    console = Console(file=io.StringIO(), **options)
    print_study(study, console)
    return console.file.getvalue()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_fits_a_terminal(kind: str) -> None:
    text = printed(EVERY_KIND[kind](), width=100, force_terminal=True, color_system=None)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text


def test_warnings_come_first_and_a_file_gets_no_colours() -> None:
    text = printed(rates_study())
    lines = text.splitlines()
    assert lines[0] == "! the last rate is near capacity"
    assert lines[1].startswith("p99 ")
    assert "\x1b" not in text
    table = [line.split() for line in lines if line.startswith("40/s")]
    assert len(table) == 1
    assert max(map(len, lines)) <= PLAIN_WIDTH


def test_what_a_name_holds_is_no_markup() -> None:
    warning = "[bold]x[/bold] [/] " + "long" * 50
    text = printed(Study("load", FACTS, [], warnings=[warning]))
    assert text.splitlines()[0] == f"! {warning}"
