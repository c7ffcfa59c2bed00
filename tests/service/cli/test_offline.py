"""`retinaserve detect --ray`: what it accepts; what it does is in tests/service/offline."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

import retinaserve
from model.files import alone
from tests.service.bundles import as_version, with_record, write_known_bundle


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture file; the test runs in its folder."""
    Image.new("RGB", (40, 30), "gray").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def detect(*words: str | Path) -> int:
    return retinaserve.main(["detect", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--out found", "--out goes with --ray"),
        ("--part-images 5", "--part-images goes with --ray"),
        ("--ray", "--ray needs --out DIR, a folder for the results"),
        ("--ray --out found --json x.json", "--json does not go with --ray"),
        ("--ray --out found --draw drawn", "--draw does not go with --ray"),
        ("--ray --out found --url http://h", "--url does not go with --ray"),
        ("--ray --out found --part-images 0", "--part-images is 0; accepted are numbers from 1"),
        ("--ray --out found --worker-cpus 0", "--worker-cpus is 0; accepted are numbers from 1"),
        ("--ray --out found --bundle nowhere", "nowhere: no bundle here"),
        ("--ray --out found --scale 7", "scale is 7; accepted are this bundle's"),
        ("--ray --out found --device cuda", "--device cuda needs --engine"),
        ("--ray --out found --device tpu", "device 'tpu': accepted are cpu, cuda and cuda:N"),
        ("--ray 127.0.0.1:1 --out found", "--ray 127.0.0.1:1: no Ray cluster there"),
        ("--ray 127.0.0.1:x --out found", "--ray 127.0.0.1:x: no Ray cluster there"),
    ],
)
def test_bad_argument_is_one_sentence(picture, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(picture.parent)
    assert detect(picture, *words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"retinaserve detect: {sentence}")
    assert error.count("\n") == 1


def test_no_picture_is_bad_input(picture, capsys):
    coco = picture.with_name("none.json")
    coco.write_text('{"images": []}')
    assert detect(coco, "--ray", "--out", picture.parent / "found") == 2
    assert "what was given has no picture" in capsys.readouterr().err


def test_without_ray_it_says_what_to_install(picture, capsys, monkeypatch):
    find_spec = importlib.util.find_spec

    def without(name: str, *rest: object) -> object:
        return None if name == "ray" else find_spec(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert detect(picture, "--ray", "--out", picture.parent / "found") == 2
    assert "pip install 'retinaserve[cpu,ray]' brings it" in capsys.readouterr().err


def test_a_folder_of_another_bundles_run_is_refused(picture, tmp_path, capsys):
    known = with_record(write_known_bundle(tmp_path / "known"))
    newer = as_version(known, tmp_path / "newer", "4")
    words = [picture, "--ray", "127.0.0.1:1", "--out", tmp_path / "found", "--bundle"]
    for bundle in (known.folder, newer):
        assert detect(*words, bundle) == 2
    said = capsys.readouterr().err
    assert "found: is of another run, whose model was {'name': 'known', 'version': '3'}" in said


def test_a_second_driver_in_the_folder_is_refused_and_leaves_the_first_ones_files(
    picture, tmp_path, capsys
):
    found = tmp_path / "found"
    words = [picture, "--ray", "127.0.0.1:1", "--out", found]
    assert detect(*words) == 2
    half = found / "detections" / ".part-5f-part-000000.parquet"
    half.touch()
    with alone(found / "lock"):
        assert detect(*words) == 2
    assert "found: another run works here; wait for its end" in capsys.readouterr().err
    assert half.exists()
