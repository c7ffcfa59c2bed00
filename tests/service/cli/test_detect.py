"""`retinaserve detect`: what it finds, what it writes, and what it does about bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import retinaserve
from service.cli.detect import find_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """pictures/ with b.png, deep/a.JPG and a note; 40 wide, 30 high, grey."""
    pictures = tmp_path / "pictures"
    (pictures / "deep").mkdir(parents=True)
    Image.new("RGB", (40, 30), "gray").save(pictures / "b.png")
    Image.new("RGB", (40, 30), "gray").save(pictures / "deep" / "a.JPG")
    (pictures / "note.txt").write_text("no picture")
    return pictures


def detect(bundle: Path, *arguments: str | Path) -> int:
    return retinaserve.main(["detect", "--bundle", str(bundle), *map(str, arguments)])


def test_json_holds_the_http_answer_of_each_picture(folder: Path, known_bundle: Path) -> None:
    out = folder.parent / "found.json"
    assert detect(known_bundle, folder, "--json", out) == 0
    first, second = json.loads(out.read_text())
    assert first["file"] == str(folder / "b.png")
    assert second["file"] == str(folder / "deep" / "a.JPG")
    assert first["model"] == {"name": "known", "version": "3"}
    assert first["image"] == {"width": 40, "height": 30}
    assert first["scale"] == 96
    assert first["detections"] == [
        {"box": [0.0, 0.0, 40.0, 30.0], "score": 0.9, "label": "RBC", "class_index": 1},
        {"box": [0.0, 0.0, 40.0, 30.0], "score": 0.5, "label": "Platelets", "class_index": 0},
    ]
    assert set(first["timings_ms"]) == {"decode", "queue", "inference", "postprocess"}


@pytest.mark.parametrize(
    ("asked", "labels", "scale"),
    [
        (["--score-threshold", "0.6"], ["RBC"], 96),
        (["--score-threshold", "0"], ["RBC", "Platelets", "WBC"], 96),
        (["--max-detections", "1"], ["RBC"], 96),
        (["--scale", "192"], ["RBC", "Platelets"], 192),
    ],
)
def test_options_reach_the_engine(
    folder: Path, known_bundle: Path, asked: list[str], labels: list[str], scale: int
) -> None:
    out = folder.parent / "found.json"
    assert detect(known_bundle, folder / "b.png", "--json", out, *asked) == 0
    (answer,) = json.loads(out.read_text())
    assert [found["label"] for found in answer["detections"]] == labels
    assert answer["scale"] == scale


def test_line_says_what_was_found(
    folder: Path, known_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(known_bundle, folder / "b.png") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{folder / 'b.png'}: 2 objects: Platelets 1, RBC 1 (")


def test_drawn_pictures_keep_their_place_and_size(folder: Path, known_bundle: Path) -> None:
    drawn = folder.parent / "drawn"
    assert detect(known_bundle, folder, "--draw", drawn) == 0
    assert sorted(p.relative_to(drawn) for p in drawn.rglob("*.*")) == [
        Path("b.png"),
        Path("deep/a.JPG"),
    ]
    with Image.open(drawn / "b.png") as picture:
        assert picture.size == (40, 30)
        # The box is the whole image, so its outline colours the first column.
        assert picture.getpixel((0, 25)) != (128, 128, 128)
        assert picture.getpixel((30, 25)) == (128, 128, 128)


def test_broken_picture_is_named_and_the_others_go_on(
    folder: Path, known_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").write_bytes((folder / "b.png").read_bytes()[:60])
    (folder / "empty.jpg").touch()
    out = folder.parent / "found.json"
    assert detect(known_bundle, folder, "--json", out) == 1
    broken, good, _, empty = json.loads(out.read_text())
    assert broken["problem"]["code"] == "undecodable"
    assert empty["problem"]["code"] == "unsupported_type"
    assert len(good["detections"]) == 2
    error = capsys.readouterr().err
    assert f"{folder / 'a.png'}: the PNG does not decode" in error
    assert "2 of 4 pictures could not be read" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such picture or folder"),
        (["empty"], "empty: no picture in this folder"),
        (["pictures", "--scale", "7"], "scale is 7; accepted are this bundle's: 96, 192"),
        (["pictures", "--iou-threshold", "1.5"], "--iou-threshold is 1.5: accepted are numbers"),
        (["pictures", "--score-threshold", "nan"], "--score-threshold is nan: accepted are"),
        (["pictures", "--max-detections", "0"], "max_detections is 0; accepted is 1 to 3"),
        (["pictures", "--draw", "pictures"], "would overwrite"),
        (["pictures", "pictures/deep", "--draw", "out"], None),
        (["pictures", "twin", "--draw", "out"], "several pictures would become"),
        (["pictures", "--json", "."], ".: is a folder; give a file"),
    ],
)
def test_bad_argument_is_one_sentence(
    folder: Path,
    known_bundle: Path,
    arguments: list[str],
    said: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    Path("twin").mkdir()
    Image.new("RGB", (8, 8)).save("twin/b.png")
    before = sorted(Path().rglob("*"))
    code = detect(known_bundle, *arguments)
    if said is None:
        assert code == 0
        return
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith("retinaserve detect: ")
    assert said in error
    assert error.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_missing_bundle_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(folder, folder / "b.png") == 2
    assert "no bundle here" in capsys.readouterr().err


def test_folder_order_is_by_name_and_doubles_count_once(folder: Path) -> None:
    found = find_pictures([folder / "deep" / "a.JPG", folder])
    assert [picture.path.name for picture in found] == ["a.JPG", "b.png"]


def test_file_without_picture_suffix_is_drawn_as_png(tmp_path: Path) -> None:
    (tmp_path / "scan").touch()
    (picture,) = find_pictures([tmp_path / "scan"])
    assert picture.drawn == Path("scan.png")


def test_checkpoint_detects_by_torch_at_the_scale_asked_for(
    folder: Path, tiny_checkpoint: Path
) -> None:
    out = folder.parent / "found.json"
    words = ["--json", out, "--engine", "torch", "--device", "cpu", "--scale", "96"]
    assert detect(tiny_checkpoint, folder / "b.png", *words) == 0
    (answer,) = json.loads(out.read_text())
    assert (answer["model"]["name"], answer["scale"]) == ("tiny", 96)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine", "openvino"], "engine 'openvino': accepted are auto, onnxruntime, tensorrt"),
        (["--engine", "torch"], "engine torch opens the file of a checkpoint, not a bundle"),
        (["--device", "tpu"], "device 'tpu': accepted are cpu, cuda and cuda:N"),
    ],
)
def test_engine_that_cannot_is_bad_input(
    folder: Path,
    known_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    assert detect(known_bundle, folder / "b.png", *words) == 2
    assert sentence in capsys.readouterr().err


def test_engine_of_a_running_server_is_not_ours_to_choose(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["detect", str(folder), "--url", "http://127.0.0.1:1", "--engine", "torch"]
    assert retinaserve.main(words) == 2
    assert "a --url has its own engine" in capsys.readouterr().err
