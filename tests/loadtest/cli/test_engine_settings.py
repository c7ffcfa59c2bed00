from __future__ import annotations

import sys

import onnxruntime as ort
import pytest

from export.engines.onnxruntime_session import session_options
from export.manifest import Bundle
from loadtest.cli import engine_settings
from loadtest.cli.engine_settings import VARIANTS, Turn, main


@pytest.mark.parametrize("name", VARIANTS)
def test_onnxruntime_takes_every_change(name: str) -> None:
    ort.set_default_logger_severity(3)
    VARIANTS[name].change(session_options(2))


def test_table_holds_each_variant_against_what_is_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = {"as served": [Turn(10.0, 0.0)] * 5, "no arena": [Turn(12.0, 0.0)] * 5}
    rss_mb = {"as served": 240.0, "no arena": 251.0}
    monkeypatch.setattr(engine_settings, "measure", lambda *_: (turns, rss_mb))
    monkeypatch.setattr(sys, "argv", ["engine_settings", "--only", "no arena"])
    main()
    *_, served, changed = capsys.readouterr().out.splitlines()
    assert served.split() == ["as", "served", "10.0", "1.00", "(1.00-1.00)", "0", "240"]
    assert changed.split() == ["no", "arena", "12.0", "1.20", "(1.20-1.20)", "0", "251"]


@pytest.mark.slow
def test_variants_run_in_turns_in_processes_of_their_own(tiny_bundle: Bundle) -> None:
    names = ["as served", "no arena"]
    turns, rss_mb = engine_settings.measure(names, tiny_bundle.folder, "fp32", 1, 1, 0.0)
    assert [len(turns[name]) for name in names] == [5, 5]
    assert all(turn.run_ms > 0 and turn.decoded_s >= 0 for name in names for turn in turns[name])
    assert all(rss_mb[name] > 10 for name in names)
