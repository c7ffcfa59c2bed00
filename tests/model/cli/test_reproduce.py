"""`retinaserve reproduce`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

import model.cli.reproduce as command
from model.errors import InputError
from model.reproduction.sections import SECTIONS
from model.reproduction.study import Setting
from model.training.ends import Interrupted


class Sections:
    """Stands in for `write_section`: notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Setting]] = []

    def __call__(self, name: str, setting: Setting, say: Any) -> Path:
        self.asked.append((name, setting))
        return setting.out / f"{name}.md"


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> Sections:
    fake = Sections()
    monkeypatch.setattr(command, "write_section", fake)
    return fake


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(arguments))


def test_options_reach_the_study(tmp_path: Path, sections: Sections) -> None:
    options = ("--steps", "70", "--seeds", "2", "--data", "cells", "--backbone-weights", "imagenet")
    assert run("losses", "--out", str(tmp_path), *options, "--checkpoint", "best.pt") == 0
    ((name, setting),) = sections.asked
    assert name == "losses"
    assert setting == Setting(
        out=tmp_path,
        data=Path("cells"),
        backbone_weights="imagenet",
        steps=70,
        seeds=2,
        checkpoint=Path("best.pt"),
    )


def test_quick_is_small(tmp_path: Path, sections: Sections) -> None:
    assert run("ohem", "--out", str(tmp_path), "--quick") == 0
    ((_, setting),) = sections.asked
    assert (setting.steps, setting.seeds, setting.pictures) == (3, 1, (6, 4))


def test_all_is_every_section(tmp_path: Path, sections: Sections) -> None:
    assert run("all", "--out", str(tmp_path)) == 0
    assert [name for name, _ in sections.asked] == list(SECTIONS)


def test_interruption_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*args: Any) -> Path:
        raise Interrupted(2, 50)

    monkeypatch.setattr(command, "write_section", stop)
    assert run("losses", "--out", str(tmp_path)) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_bad_number_of_seeds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="seeds 0: accepted are numbers from 1"):
        run("losses", "--out", str(tmp_path), "--seeds", "0")
