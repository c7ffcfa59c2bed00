"""A worker in this process, without Ray."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from export.engines.session import DeviceFault, OutOfMemory, SessionError
from export.manifest import read_bundle
from service.cli.finder import LocalFinder
from service.offline.plan import Named, parts_of
from service.offline.results import results_file
from service.offline.rule import Rule, facts_of, identity_of
from service.offline.run import begin
from service.offline.sources import read_sources
from service.offline.worker import Worker, in_threads
from service.options import DetectQuery

GOOD = {"images": 2, "problems": 0, "refused": ""}


def picture(width: int = 40) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 30), "gray").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def rule(tmp_path: Path, known_bundle: Path) -> Rule:
    """Of a run over a.png and b.png, 40 and 50 wide, then a broken and a missing one."""
    (tmp_path / "in").mkdir()
    contents = {"a": picture(40), "b": picture(50), "c": picture()[:60]}
    for name, content in contents.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(content)
    names = [
        Named(number, f"{name}.png", f"{tmp_path}/in/{name}.png")
        for number, name in enumerate("abcd", 1)
    ]
    query = DetectQuery(score_threshold=0.2)
    rule = Rule(tmp_path, known_bundle, identity_of(known_bundle), query, "auto", "cpu", 1)
    facts = facts_of(rule, read_bundle(known_bundle).manifest)
    begin(tmp_path, facts, parts_of(names, 2))
    return rule


def rows_of(rule: Rule, part: int) -> list[dict[str, object]]:
    return pq.read_table(results_file(rule.folder, part)).to_pylist()


def test_results_are_the_answers_of_the_single_machine(rule):
    assert Worker(rule)({"part": 0}) == GOOD
    finder = LocalFinder(rule.bundle, rule.query)
    for row, name in zip(rows_of(rule, 0), ("a.png", "b.png"), strict=True):
        answer = finder((rule.folder / "in" / name).read_bytes())
        told = {key: row[key] for key in ("image", "scale", "detections")}
        assert told == {key: answer[key] for key in told}
        assert (row["file"], row["problem"]) == (name, None)
        assert [found["label"] for found in row["detections"]] == ["RBC", "Platelets"]


def test_a_picture_that_can_not_be_read_is_a_row_with_the_problem(rule):
    assert Worker(rule)({"part": 1}) == {"images": 2, "problems": 2, "refused": ""}
    broken, missing = rows_of(rule, 1)
    assert broken["problem"]["code"] == missing["problem"]["code"] == "undecodable"
    assert missing["problem"]["detail"] == "can't be read (No such file or directory)"
    assert (broken["image_id"], broken["detections"], broken["image"]) == (3, None, None)


@pytest.mark.parametrize(
    ("error", "code"),
    [(SessionError(), "inference_failed"), (OutOfMemory(), "out_of_memory")],
)
def test_a_picture_that_the_engine_fails_on_is_a_row_with_the_problem(
    rule, monkeypatch, error, code
):
    find = LocalFinder.find

    def fails_for_wide(finder, prepared):
        if prepared.image.place.image_size[1] == 50:
            raise error
        return find(finder, prepared)

    monkeypatch.setattr(LocalFinder, "find", fails_for_wide)
    assert Worker(rule)({"part": 0}) == {"images": 2, "problems": 1, "refused": ""}
    good, failed = rows_of(rule, 0)
    assert len(good["detections"]) == 2
    assert failed["problem"]["code"] == code


class Ended(BaseException):
    """The process ended."""


def end(status: int) -> None:
    raise Ended(status)


def test_a_lost_device_ends_the_process_and_leaves_no_results(rule, monkeypatch):
    def lost(*_):
        raise DeviceFault

    monkeypatch.setattr(LocalFinder, "find", lost)
    monkeypatch.setattr("os._exit", end)
    with pytest.raises(Ended, match="70"):
        Worker(rule)({"part": 0})
    assert not results_file(rule.folder, 0).exists()


def test_a_part_that_ends_its_worker_every_time_is_given_up(rule, monkeypatch):
    def killed(*_):
        raise Ended

    with monkeypatch.context() as patched:
        patched.setattr(LocalFinder, "find", killed)
        for _ in range(4):
            with pytest.raises(Ended):
                Worker(rule)({"part": 0})
        refused = Worker(rule)({"part": 0})["refused"]
    assert "part-000000.parquet: its worker was lost 4 times" in refused
    assert "one of its pictures, a.png to b.png" in refused
    assert Worker(rule)({"part": 1})["refused"] == ""


def test_tries_that_came_to_an_end_are_not_counted(rule):
    for _ in range(5):
        assert Worker(rule)({"part": 0}) == GOOD
        results_file(rule.folder, 0).unlink()
    assert list(rule.folder.glob("**/.part-*")) == []


def test_a_part_that_is_done_is_not_done_again(rule):
    Worker(rule)({"part": 1})
    written = results_file(rule.folder, 1).stat().st_mtime_ns
    assert Worker(rule)({"part": 1}) == {"images": 2, "problems": 2, "refused": ""}
    assert results_file(rule.folder, 1).stat().st_mtime_ns == written


def test_pictures_out_of_parquet(rule, tmp_path):
    pq.write_table(
        pa.table({"path": ["x", "y"], "bytes": [picture(40), picture(50)]}), tmp_path / "in.parquet"
    )
    pictures, _ = read_sources([tmp_path / "in.parquet"], None)
    folder = tmp_path / "out"
    begin(folder, {}, parts_of(pictures, 1))
    assert Worker(replace(rule, folder=folder))({"part": 0}) == GOOD
    first, second = rows_of(replace(rule, folder=folder), 0)
    assert (first["file"], first["image"]) == ("x", {"width": 40, "height": 30})
    assert (second["file"], second["image"]) == ("y", {"width": 50, "height": 30})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"folder": Path("/nowhere")}, "do all machines see the same folders?"),
        ({"bundle_sha256": "0"}, "a worker found another bundle there"),
        ({"engine": "torch"}, "engine torch opens the file of a checkpoint"),
    ],
)
def test_a_worker_that_can_not_work_says_why(rule, change, sentence):
    answer = Worker(replace(rule, **change))({"part": 0})
    assert sentence in answer["refused"]
    assert answer["images"] == 0


def test_a_worker_runs_without_telemetry_of_onnx_runtime(rule, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert Worker(rule)({"part": 0}) == GOOD
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_work_in_threads_comes_in_order_and_not_too_far_ahead():
    asked = []

    def numbers():
        for number in range(10):
            asked.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        doubled = in_threads(pool, lambda number: 2 * number, numbers(), 3)
        assert next(doubled).result() == 0
        assert asked == [0, 1, 2, 3]
        assert [one.result() for one in doubled] == [2, 4, 6, 8, 10, 12, 14, 16, 18]
