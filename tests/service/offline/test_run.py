from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.errors import InputError
from service.offline.plan import Named, Plan, parts_of
from service.offline.results import results_file, write_results
from service.offline.run import alone_in, begin, end, parts_left

PROBLEM = {"problem": {"code": "undecodable", "detail": "broken"}}


@pytest.fixture
def plan() -> Plan:
    """Four pictures in two parts."""
    names = [Named(number, f"{number}.jpg", "/in") for number in (1, 2, 3, 4)]
    return Plan({"device": "cpu"}, list(parts_of(names, 2)))


def start(folder: Path, plan: Plan) -> list[int]:
    """The parts that are left, as whoever begins the run sees them."""
    return parts_left(folder, begin(folder, plan.facts, plan.parts))


def finish(folder: Path, plan: Plan, part: int) -> None:
    columns = (plan.parts[part][name].to_pylist() for name in ("image_id", "file"))
    rows = [{"image_id": image_id, "file": file} for image_id, file in zip(*columns, strict=True)]
    rows[0] |= PROBLEM
    rows[1] |= {"image": {"width": 40, "height": 30}, "scale": 96, "detections": []}
    write_results(results_file(folder, part), rows, plan.facts)


def test_a_run_goes_on_where_it_stopped(plan, tmp_path):
    folder = tmp_path / "new"
    assert start(folder, plan) == [0, 1]
    finish(folder, plan, 1)
    assert start(folder, plan) == [0]
    finish(folder, plan, 0)
    assert start(folder, plan) == []


def test_what_a_kill_left_half_written_does_not_count_and_goes(plan, tmp_path):
    start(tmp_path, plan)
    half = results_file(tmp_path, 0).with_name(".part-5f-part-000000.parquet")
    half.write_bytes(b"PAR1")
    results_file(tmp_path, 1).write_bytes(b"PAR1")
    assert start(tmp_path, plan) == [0, 1]
    assert not half.exists()


def test_another_run_is_refused(plan, tmp_path):
    start(tmp_path, plan)
    with pytest.raises(InputError, match="of another run, whose device was cpu and not cuda:0"):
        begin(tmp_path, {"device": "cuda:0"}, plan.parts)
    with pytest.raises(InputError, match="of another run, of 4 other pictures"):
        begin(tmp_path, plan.facts, plan.parts[:1])
    assert start(tmp_path, plan) == [0, 1]


def test_results_without_a_plan_are_refused(plan, tmp_path):
    finish(tmp_path, plan, 0)
    with pytest.raises(InputError, match=r"has detections, but no plan\.arrow"):
        start(tmp_path, plan)


def test_a_second_run_in_the_folder_is_refused_until_the_first_ends(tmp_path):
    folder = tmp_path / "new"
    with (
        alone_in(folder),
        pytest.raises(InputError, match="new: another run works here; wait for its end"),
        alone_in(folder),
    ):
        pass
    with alone_in(folder):
        pass


def test_the_end_counts_and_writes_one_coco_json(plan, tmp_path):
    start(tmp_path, plan)
    finish(tmp_path, plan, 0)
    finish(tmp_path, plan, 1)
    assert end(tmp_path, plan, ["RBC"], []) == (4, 2)
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [image["id"] for image in coco["images"]] == [2, 4]
    assert coco["categories"] == [{"id": 1, "name": "RBC"}]
