from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.errors import InputError
from service.offline.plan import Named, Plan, facts_of, parts_of
from service.offline.results import (
    counted,
    done_parts,
    read_results,
    results_file,
    write_results,
)

FOUND = {
    "image": {"width": 40, "height": 30},
    "scale": 96,
    "detections": [{"box": [0.1, 0.2, 40.0, 30.0], "score": 0.9, "label": "RBC", "class_index": 1}],
    "problem": None,
}
PROBLEM = {
    "image": None,
    "scale": None,
    "detections": None,
    "problem": {"code": "undecodable", "detail": "the PNG does not decode"},
}


@pytest.fixture
def plan() -> Plan:
    """Three pictures in two parts."""
    names = [Named(number, f"{number}.jpg", "/in") for number in (1, 2, 3)]
    return Plan({}, list(parts_of(names, 2)))


def row(number: int, said: dict[str, object]) -> dict[str, object]:
    return {"image_id": number, "file": f"{number}.jpg", **said}


def write(folder: Path, part: int, *rows: dict[str, object]) -> Path:
    path = results_file(folder, part)
    write_results(path, rows, {"device": "cpu"})
    return path


def test_rows_are_read_as_they_were_written_in_the_order_of_the_plan(plan, tmp_path):
    write(tmp_path, 1, row(3, FOUND))
    write(tmp_path, 0, row(1, FOUND) | {"timings_ms": {}}, row(2, PROBLEM))
    rows = list(read_results(tmp_path, plan))
    assert rows == [row(1, FOUND), row(2, PROBLEM), row(3, FOUND)]
    assert counted(rows) == (3, 1)


def test_a_file_says_what_it_was_made_by(tmp_path):
    path = write(tmp_path, 0, row(1, FOUND))
    assert path.name == "part-000000.parquet"
    assert facts_of(pq.read_schema(path)) == {"device": "cpu"}


def test_a_part_is_done_once_its_file_is_whole(plan, tmp_path):
    assert done_parts(tmp_path, plan) == set()
    first = write(tmp_path, 0, row(1, FOUND), row(2, FOUND))
    second = write(tmp_path, 1, row(3, FOUND))
    assert done_parts(tmp_path, plan) == {0, 1}
    content = first.read_bytes()
    for half in (b"", content[:100], content[:-1]):
        first.write_bytes(half)
        assert done_parts(tmp_path, plan) == {1}
    second.rename(first)
    assert done_parts(tmp_path, plan) == set()


def test_results_of_other_pictures_are_refused(plan, tmp_path):
    write(tmp_path, 0, row(1, FOUND), row(3, FOUND))
    with pytest.raises(InputError, match="pictures are not those of part 0 of the plan"):
        list(read_results(tmp_path, plan))


def test_two_may_write_a_part_at_a_time(tmp_path, monkeypatch):
    """The second one while the first is in the midst of it, as after a worker was given up."""
    path = results_file(tmp_path, 0)
    write_table = pq.write_table

    def interrupted(table, *args, **options):
        write_table(table, *args, **options)
        monkeypatch.setattr(pq, "write_table", write_table)
        write(tmp_path, 0, row(1, FOUND))
        assert pq.read_metadata(path).num_rows == 1

    monkeypatch.setattr(pq, "write_table", interrupted)
    write(tmp_path, 0, row(1, FOUND))
    assert pq.read_table(path).to_pylist() == [row(1, FOUND)]
    assert [left.name for left in path.parent.iterdir()] == [path.name]
