from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.report.document import read_study, write_study
from loadtest.traffic.sample import Outcome, Sample
from loadtest.traffic.trial import Load, Study, Trial
from model.errors import InputError
from tests.loadtest.report.studies import EVERY_KIND

SAMPLES = [
    Sample(0.25, 0.250001, 0.375, Outcome.OK, 200, "", {"decode": 1.5, "queue": 0.25}, 4, 2, 1),
    Sample(0.5, 0.5, 0.625, Outcome.REFUSED, 503, "503 queue_full"),
    Sample(0.75, 0.75, 0.8125, Outcome.OK, 200, "", {"decode": 2.0}, 0, None, 0),
]
STUDY = Study(
    "load",
    {"command": "retinaserve loadtest http://x", "where": "Łódź"},
    [
        Trial(Load(rate=4.0, seconds=1.0), SAMPLES, 0.125, carried=2),
        Trial(Load(callers=2), [], 0.0, 480, 0.5, 0.75),
    ],
    {"capacity": 12.5},
    ["a warning"],
    100.0,
    True,
)


def written(study: Study, tmp_path: Path) -> Path:
    path = tmp_path / "study.json"
    write_study(path, study)
    return path


def damaged(tmp_path: Path, change: object) -> Path:
    path = written(STUDY, tmp_path)
    raw = json.loads(path.read_bytes())
    change(raw)
    path.write_text(json.dumps(raw))
    return path


def test_a_study_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_study(written(STUDY, tmp_path)) == STUDY


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_comes_back_to_the_microsecond(kind: str, tmp_path: Path) -> None:
    study = EVERY_KIND[kind]()
    back = read_study(written(study, tmp_path))
    assert replace(back, trials=[]) == replace(study, trials=[], warnings=list(study.warnings))
    for one, other in zip(back.trials, study.trials, strict=True):
        assert replace(one, samples=[]) == replace(other, samples=[])
        for mine, theirs in zip(one.samples, other.samples, strict=True):
            assert mine.latency == pytest.approx(theirs.latency, abs=2e-6)
            assert mine.stages == pytest.approx(theirs.stages, abs=1e-6)
            assert (mine.outcome, mine.why, mine.server) == (
                theirs.outcome, theirs.why, theirs.server,
            )  # fmt: skip


def test_columns_are_compact(tmp_path: Path) -> None:
    raw = json.loads(written(STUDY, tmp_path).read_bytes())
    columns = raw["trials"][0]["samples"]
    assert raw["format"] == 1
    assert columns["ended"] == [0.375, 0.625, 0.8125]
    assert columns["stages"] == {"decode": [1.5, None, 2.0], "queue": [0.25, None, None]}
    one_kind = replace(STUDY, trials=[replace(STUDY.trials[0], samples=SAMPLES[:1] * 3)])
    columns = json.loads(written(one_kind, tmp_path).read_bytes())["trials"][0]["samples"]
    assert columns["outcome"] == "ok"
    assert columns["ended"] == 0.375


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(format=2), "format 2; this version reads format 1"),
        (lambda raw: raw.pop("format"), "no study of `retinaserve loadtest`"),
        (lambda raw: raw.update(kind="other"), "kind: Input should be 'load', 'max-qps'"),
        (lambda raw: raw.pop("facts"), "facts: Field required"),
        (lambda raw: raw.pop("trials"), "its parts don't fit together"),
        (lambda raw: raw["trials"][0]["samples"]["sent"].pop(), "its parts don't fit together"),
        (lambda raw: raw["trials"][0].pop("samples"), "its parts don't fit together"),
        (lambda raw: raw["trials"][0]["samples"].update(sent="soon"), "valid number"),
        (lambda raw: raw["trials"][0]["samples"].update(outcome="won"), "Input should be 'ok'"),
    ],
)
def test_what_is_no_study_is_refused_in_a_sentence(
    change: object, said: str, tmp_path: Path
) -> None:
    path = damaged(tmp_path, change)
    with pytest.raises(InputError) as error:
        read_study(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null", b'"text"'])
def test_a_truncated_or_foreign_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"some.json: no"):
        read_study(path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = written(STUDY, tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="not a whole JSON file"):
        read_study(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.json: can't be read \(No such file or directory\)"):
        read_study(tmp_path / "none.json")


def test_a_figure_that_is_no_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_study(tmp_path / "study.json", replace(STUDY, found={"rate": float("nan")}))
    assert list(tmp_path.iterdir()) == []
