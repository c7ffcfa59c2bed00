"""The comparison of JPEG decoders."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from loadtest.cli import decoders


def test_pillow_is_measured_and_what_is_absent_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> decoders.Decode:
        raise ImportError("No module named 'fast'")

    some = {
        "Pillow": decoders.CONTENDERS["Pillow"],
        "fast": decoders.Contender(("fast",), absent),
    }
    monkeypatch.setattr(decoders, "CONTENDERS", some)
    assert decoders.main(["--seconds", "0.001"]) == 0
    shown = capsys.readouterr().out
    (row,) = (line for line in shown.splitlines() if line.startswith("Pillow"))
    assert "0  refused (OSError)  [pillow " in row
    assert "left out: fast: No module named 'fast'" in shown


def test_folder_without_jpeg_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert decoders.main(["--images", str(tmp_path)]) == 2
    assert "no JPEG file there" in capsys.readouterr().err
