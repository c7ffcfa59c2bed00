"""What a machine calls itself."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from model.machine import cpu_name


def test_processor_is_named_as_its_maker_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Acme 7\nmodel name\t: Acme 7\n"
    )
    monkeypatch.setattr("model.machine.CPU_INFO", tmp_path / "cpuinfo")
    assert cpu_name() == "Acme 7"


def test_processor_without_a_maker_has_the_systems_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.machine.CPU_INFO", tmp_path / "nothing")
    assert cpu_name() == (platform.processor() or platform.machine())
