"""The run's log: JSON lines, the same as a table, and for TensorBoard."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.files import whole_file

COLUMNS = (
    "step",
    "class_loss",
    "box_loss",
    "positives",
    "lr",
    "gradient_norm",
    "images_per_s",
    "wait_share",
    "AP",
    "AP50",
    "AP75",
)
"""Of `log.csv`: a row for every step, and one for every evaluation, which has the last three."""


class Journal:
    """`log.jsonl`, `log.csv` and, where the package tensorboard is installed, `tensorboard/`.

    A run that goes on after `step` drops what will be written again: all of the later steps, and
    the evaluations after step `evaluated`.
    """

    def __init__(self, folder: Path, step: int, evaluated: int) -> None:
        self._lines, self._table = folder / "log.jsonl", folder / "log.csv"
        kept = [
            entry
            for entry in _entries(self._lines)
            if entry["step"] <= (evaluated if "val" in entry else step)
        ]
        with whole_file(self._lines) as part:
            part.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        with whole_file(self._table) as part, part.open("w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, COLUMNS)
            rows.writeheader()
            rows.writerows(map(_row, kept))
        self._board = _board(folder / "tensorboard", step)

    def write(self, step: int, **values: Any) -> None:
        """Appends one entry: the numbers of a step, or `val`, the metrics of an evaluation."""
        entry = {"step": step, **values}
        with self._lines.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry) + "\n")
        with self._table.open("a", newline="", encoding="utf-8") as table:
            csv.DictWriter(table, COLUMNS).writerow(_row(entry))
        if self._board:
            for name, value in _scalars(entry):
                self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Puts on disk what TensorBoard's writer still holds."""
        if self._board:
            self._board.flush()

    def close(self) -> None:
        """Ends TensorBoard's writer."""
        if self._board:
            self._board.close()


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # cut off by a kill
                continue


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    flat = {**entry, **entry.get("val", {})}
    return {name: flat.get(name) for name in COLUMNS}


def _scalars(entry: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """TensorBoard's names: train/class_loss, val/AP, val/AP/<class>."""
    if "val" in entry:
        named = {f"val/{name}": value for name, value in entry["val"].items()}
        for label, figures in entry["val"].get("classes", {}).items():
            named |= {f"val/{name}/{label}": value for name, value in figures.items()}
    else:
        named = {f"train/{name}": value for name, value in entry.items() if name != "step"}
    for name, value in named.items():
        if isinstance(value, int | float):
            yield name, value


def _board(folder: Path, step: int) -> Any:
    """A TensorBoard writer that makes readers drop what an earlier run wrote after `step`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
