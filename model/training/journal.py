"""The run's log: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """`log.jsonl` of a run. Resuming at a step drops the lines that will be written again."""

    def __init__(self, path: Path, first_step: int) -> None:
        self.path = path
        kept = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # cut off by a kill
                    continue
                if entry["step"] <= first_step:
                    kept.append(line + "\n")
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(path)

    def write(self, **entry: Any) -> None:
        """Appends one entry; it needs a `step`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
