"""`retinaserve doctor`: exit codes, the files it leaves, what it says."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from model.cli import doctor
from model.errors import InputError
from tests.model.doctor.small_set import good_labels, write_set


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    doctor.configure(parser)
    return doctor.run(parser.parse_args([str(argument) for argument in arguments]))


def test_healthy_set_exits_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_set(tmp_path)
    assert run(path, "--scale", 192, "--out", tmp_path / "report") == 0
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: 3 pictures, 24 boxes, 2 classes"
    assert lines[-2] == "Healthy: nothing in the data or the recipe explains a bad AP."
    assert lines[-1] == f"report: {tmp_path / 'report' / 'index.html'}"


def test_warnings_exit_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = good_labels()
    labels["annotations"].append({**labels["annotations"][0], "id": 99})
    assert run(write_set(tmp_path, labels), "--scale", 192, "--out", tmp_path / "report") == 0
    out = capsys.readouterr().out
    assert "WARNING Boxes repeat another" in out
    assert "Training will run; one thing may make it worse than it could be." in out


def test_errors_exit_with_1_and_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = good_labels()
    for entry in labels["annotations"][:4]:
        entry["bbox"] = [3, 4, 0, 5]
    assert run(write_set(tmp_path, labels), "--scale", 192, "--out", tmp_path / "report") == 1
    out = capsys.readouterr().out
    assert "ERROR   Boxes have no area: a side is zero or negative. (4)" in out
    assert out.count("a.png: cat box (3, 4, 3, 9)") == 3
    assert "and 1 more" in out


def test_names_do_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = good_labels()
    labels["images"][0]["file_name"] = "\x1b[31m\udcff.png"
    assert run(write_set(tmp_path, labels), "--scale", 192, "--out", tmp_path / "report") == 1
    assert "          ?[31m?.png\n" in capsys.readouterr().out


def test_json_holds_everything(tmp_path: Path) -> None:
    labels = good_labels()
    labels["annotations"][0]["bbox"] = [3, 4, 0, 5]
    path = write_set(tmp_path, labels)
    run(path, "--scale", 192, "--out", tmp_path / "report", "--json", tmp_path / "doctor.json")
    found = json.loads((tmp_path / "doctor.json").read_text())
    assert found["format"] == 1
    assert found["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert [f["code"] for f in found["findings"]] == ["box-without-area"]
    assert found["classes"] == [
        {"index": 0, "name": "cat", "category_id": 1, "boxes": 11},
        {"index": 1, "name": "dog", "category_id": 2, "boxes": 12},
    ]
    assert found["data"][0]["learnt"] == 23
    assert found["anchors"]["coverage"]["boxes"] == 23
    assert found["anchors"]["proposal"] is None


def test_page_is_written_anew_over_its_own_alone(tmp_path: Path) -> None:
    out = tmp_path / "report"
    arguments = [write_set(tmp_path), "--scale", 192, "--out", out, "--json", out / "doctor.json"]
    assert run(*arguments) == 0
    assert run(*arguments) == 0
    (out / "metrics.json").touch()
    with pytest.raises(InputError, match=r"holds metrics.json, which retinaserve doctor did not"):
        run(*arguments)
    (out / "index.html").write_text("<html>somebody's own</html>")
    with pytest.raises(InputError, match=r"index.html was not written by retinaserve doctor, "):
        run(*arguments)
    assert (out / "index.html").read_text() == "<html>somebody's own</html>"


def test_anchors_that_do_not_help_are_told_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = good_labels()
    for entry in labels["annotations"][::2]:
        entry["bbox"][2:] = [0.5, 0.5]
    path = write_set(tmp_path, labels)
    out = tmp_path / "report"
    assert run(path, "--scale", 192, "--out", out, "--json", tmp_path / "doctor.json") == 0
    found = json.loads((tmp_path / "doctor.json").read_text())["anchors"]
    assert found["proposal"] is None
    assert (found["search"]["tried"], found["search"]["most_reached"]) == (11798, 0.5)
    told = "None of 11,798 other sets of sizes and ratios wins 1% of the boxes and takes no"
    page = (out / "index.html").read_text(encoding="utf-8")
    for text in (page, capsys.readouterr().out):
        assert told in text
        assert "at scale 256" in text


def test_json_is_strict_even_for_boxes_that_are_not_numbers(tmp_path: Path) -> None:
    labels = good_labels()
    labels["annotations"] = [{**labels["annotations"][0], "bbox": [float("nan")] * 4}]
    path = write_set(tmp_path, labels)
    assert run(path, "--out", tmp_path / "report", "--json", tmp_path / "doctor.json") == 1

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((tmp_path / "doctor.json").read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a COCO JSON file"),
        (["mine.toml"], "a recipe\\? Then write --recipe mine.toml"),
        (["nowhere.json"], "no such annotation file"),
        (["{set}", "--images", "nowhere"], "--images nowhere: no such folder"),
        (["{set}", "--sample", "0"], "--sample 0: accepted"),
        (["{set}", "--scale", "8"], "--scale 8: accepted"),
        (["--recipe", "nowhere.toml"], "no such recipe"),
        (["--recipe", "{recipe}"], "only drawn scenes"),
        (["--recipe", "{recipe}", "--images", "."], "--images goes with DATASET"),
    ],
)
def test_nothing_to_examine_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    recipe = tmp_path / "drawn.toml"
    recipe.write_text('name = "drawn"\n[[data.train]]\nformat = "drawn"\ncount = 1\n')
    path = write_set(tmp_path)
    given = [argument.format(set=path, recipe=recipe) for argument in arguments]
    with pytest.raises(InputError, match=said):
        run(*given, "--out", tmp_path / "report")
    assert not (tmp_path / "report").exists()
