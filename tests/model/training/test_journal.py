"""The run's log survives kills and resumes."""

from __future__ import annotations

import json
from pathlib import Path

from model.training.journal import Journal


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_entries_are_json_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl", 0)
    journal.write(step=1, loss=0.5)
    journal.write(step=2, loss=0.25)
    assert (tmp_path / "log.jsonl").read_text() == (
        '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n'
    )


def test_resuming_drops_lines_that_will_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first = Journal(path, 0)
    for step in range(1, 6):
        first.write(step=step)
    Journal(path, 3).write(step=4)
    assert steps(path) == [1, 2, 3, 4]


def test_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    Journal(path, 2).write(step=2)
    assert steps(path) == [1, 2]
