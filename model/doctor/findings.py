"""What the doctor found: one finding for each kind of fault, with a count and examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from model.doctor.catalogue import CATALOGUE, Severity

EXAMPLES = 8
"""How many examples of a finding are kept."""


@dataclass
class Finding:
    """One kind of fault in one data set; `where` is its part of the recipe (train, val) or ''."""

    code: str
    severity: Severity
    sentence: str
    advice: str
    where: str = ""
    count: int = 0
    examples: list[str] = field(default_factory=list)


class Findings:
    """Collects the findings of one data set in the order in which they are met."""

    def __init__(self, where: str = "") -> None:
        self.where = where
        self._of_code: dict[str, Finding] = {}

    def add(
        self,
        code: str,
        examples: Iterable[str] = (),
        count: int | None = None,
        severity: Severity | None = None,
        **details: object,
    ) -> None:
        """Counts faults of a kind of the catalogue; a count of 0 leaves no trace.

        `count`: how many, where it is not the number of examples. `severity`: where it is not the
        catalogue's. `details` fill in the catalogue's sentence and advice.
        """
        examples = list(examples)
        count = len(examples) if count is None else count
        if not count:
            return
        entry = CATALOGUE[code]
        finding = self._of_code.setdefault(
            code,
            Finding(
                code,
                severity or entry.severity,
                entry.sentence.format(**details),
                entry.advice.format(**details),
                self.where,
            ),
        )
        finding.count += count
        finding.examples += examples[: EXAMPLES - len(finding.examples)]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._of_code.values())
