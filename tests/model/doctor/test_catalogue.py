"""The catalogue and its page in the docs say the same, and every check names kinds that exist."""

from __future__ import annotations

import re
from pathlib import Path

from model.doctor.catalogue import CATALOGUE

ROOT = Path(__file__).parents[3]


def test_docs_list_every_finding_with_its_severity() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (error|warning|note) \|", page, re.M))
    assert rows == {code: entry.severity.value for code, entry in CATALOGUE.items()}


def test_every_kind_is_found_by_some_check() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "model" / "doctor").glob("*.py")
        if path.name != "catalogue.py"
    )
    assert {code for code in CATALOGUE if f'"{code}"' not in source} == set()
