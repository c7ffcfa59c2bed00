"""The run's log survives kills and resumes, in all its forms."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.training.journal import COLUMNS, Journal

STEP = {"class_loss": 0.5, "gradient_norm": None, "lr": 1e-3}
VAL = {"AP": 0.25, "AP50": None, "classes": {"cat": {"AP": 0.25}}}


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def events(folder: Path) -> dict[str, list[int]]:
    """The steps of each of TensorBoard's scalars, as TensorBoard reads them."""
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [event.step for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_entries_are_json_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, 0)
    journal.write(1, class_loss=0.5)
    journal.write(2, class_loss=0.25)
    assert (tmp_path / "log.jsonl").read_text() == (
        '{"step": 1, "class_loss": 0.5}\n{"step": 2, "class_loss": 0.25}\n'
    )


def test_table_has_a_row_for_each_step_and_evaluation(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, 0)
    journal.write(1, **STEP)
    journal.write(1, val=VAL)
    with (tmp_path / "log.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["step"], first["class_loss"], first["lr"]) == ("1", "0.5", "0.001")
    assert (first["gradient_norm"], first["AP"]) == ("", "")
    assert (second["step"], second["class_loss"], second["AP"], second["AP50"]) == (
        "1",
        "",
        "0.25",
        "",
    )


def test_documentation_explains_every_column() -> None:
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| column \|.*?\n\n", page, re.S)
    assert re.findall(r"`(\w+)`(?=[^|]*\|[^|]*\|$)", table, re.M) == list(COLUMNS)


def test_tensorboard_shows_losses_and_metrics(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, 0)
    journal.write(1, **STEP)
    journal.write(1, val=VAL)
    journal.close()
    assert events(tmp_path / "tensorboard") == {
        "train/class_loss": [1],
        "train/lr": [1],
        "val/AP": [1],
        "val/AP/cat": [1],
    }


def write_five_steps(folder: Path) -> None:
    journal = Journal(folder, 0, 0)
    for step in range(1, 6):
        journal.write(step, class_loss=0.5)
        if step in (2, 4):
            journal.write(step, val=VAL)
    journal.close()


def test_resuming_drops_what_will_be_written_again(tmp_path: Path) -> None:
    write_five_steps(tmp_path)
    Journal(tmp_path, 3, 2).write(4, class_loss=0.5)
    assert steps(tmp_path / "log.jsonl") == [1, 2, 2, 3, 4]
    with (tmp_path / "log.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == list("12234")


def test_resuming_before_an_evaluation_drops_that_too(tmp_path: Path) -> None:
    write_five_steps(tmp_path)
    Journal(tmp_path, 4, 2).write(4, val=VAL)
    assert steps(tmp_path / "log.jsonl") == [1, 2, 2, 3, 4, 4]


def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path: Path) -> None:
    write_five_steps(tmp_path)
    # Files are read in the order of their names, which begin with the second that they are from.
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.rename(file.with_name(file.name.replace("tfevents.", "tfevents.0")))
    journal = Journal(tmp_path, 3, 2)
    for step in (4, 5, 6):
        journal.write(step, class_loss=0.25)
    journal.write(4, val=VAL)
    journal.close()
    shown = events(tmp_path / "tensorboard")
    assert shown == {"train/class_loss": [1, 2, 3, 4, 5, 6], "val/AP": [2, 4], "val/AP/cat": [2, 4]}


def test_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    Journal(tmp_path, 2, 2).write(2, class_loss=0.5)
    assert steps(path) == [1, 2]
