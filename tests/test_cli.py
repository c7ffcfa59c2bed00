"""The dispatcher: verbs are found lazily, and every failure is a sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import retinaserve
from model.errors import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Installs a verb `probe` of the extra `train` that runs a given function."""

    def install(action: Callable[[], int]) -> None:
        module = ModuleType("probe_verb")
        module.HELP = "probe"  # type: ignore[attr-defined]
        module.configure = lambda parser: parser.add_argument("--level", type=int)  # type: ignore[attr-defined]
        module.run = lambda args: action()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "probe_verb", module)
        entry = retinaserve.Verb("probe_verb", "train", "probe")
        monkeypatch.setitem(retinaserve.VERBS, "probe", entry)

    return install


def test_menu_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert retinaserve.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("serve", "detect", "train", "evaluate", "export", "bench", "draw"):
        assert f"\n  {name} " in shown


def test_menu_imports_nothing_heavy() -> None:
    code = (
        "import sys, retinaserve; retinaserve.main(['--help'])\n"
        "heavy = {'numpy', 'PIL', 'torch', 'onnxruntime', 'fastapi', 'pydantic', 'httpx'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_verb_runs_without_telemetry_of_onnx_runtime(verb, monkeypatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    verb(lambda: int(os.environ.get("ORT_DISABLE_TELEMETRY") != "1"))
    assert retinaserve.main(["probe"]) == 0


def test_sigterm_ends_a_verb_though_it_is_pid_1_of_a_container(verb, monkeypatch) -> None:
    process = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    # As for PID 1, where the default action of a signal is to do nothing.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    verb(lambda: os.kill(process, signal.SIGTERM) or 0)
    try:
        with pytest.raises(SystemExit) as ended:
            retinaserve.main(["probe"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143


def test_no_verb_shows_the_menu_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert retinaserve.main([]) == 2
    assert "usage: retinaserve VERB" in capsys.readouterr().err


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert retinaserve.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("retinaserve 0.")


@pytest.mark.parametrize(
    ("typed", "said"), [("servce", "did you mean serve?"), ("xyzzy", "the verbs are serve, detect")]
)
def test_unknown_verb_suggests(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert retinaserve.main([typed]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", retinaserve.VERBS)
def test_menu_line_is_the_help_of_the_verb(name: str) -> None:
    entry = retinaserve.VERBS[name]
    assert importlib.import_module(entry.module).HELP == entry.line


@pytest.mark.parametrize("name", retinaserve.VERBS)
def test_example_in_the_help_of_a_verb_parses(name: str) -> None:
    module = importlib.import_module(retinaserve.VERBS[name].module)
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.configure(parser)
    examples = re.findall(rf"retinaserve {name} ([^|\n]+)", parser.epilog or "")
    assert examples, "the epilog shows no example"
    for example in examples:
        parser.parse_args(shlex.split(example))


def test_exit_code_is_the_verbs_own(verb: Callable[[Callable[[], int]], None]) -> None:
    verb(lambda: 1)
    assert retinaserve.main(["probe", "--level", "3"]) == 1


def test_bad_argument_exits_2(
    verb: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda: 0)
    with pytest.raises(SystemExit) as stop:
        retinaserve.main(["probe", "--level", "high"])
    assert stop.value.code == 2
    assert "retinaserve probe: error: argument --level" in capsys.readouterr().err


def test_input_error_is_one_sentence_and_exit_2(
    verb: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise InputError("scale 7: accepted are 320 and 480")

    verb(action)
    assert retinaserve.main(["probe"]) == 2
    assert capsys.readouterr().err == "retinaserve probe: scale 7: accepted are 320 and 480\n"


def test_trouble_with_a_file_names_it(
    verb: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    verb(lambda: bool((tmp_path / "file" / "below").write_text("")))
    assert retinaserve.main(["probe"]) == 2
    assert capsys.readouterr().err == (
        f"retinaserve probe: {tmp_path / 'file' / 'below'}: Not a directory\n"
    )


def test_missing_extra_is_named(
    verb: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise ModuleNotFoundError(name="torch.nn")

    verb(action)
    assert retinaserve.main(["probe"]) == 2
    assert capsys.readouterr().err == (
        "retinaserve probe: needs torch, which is not installed: "
        "pip install 'retinaserve[train]' brings it\n"
    )


def test_interrupt_exits_130(verb: Callable[[Callable[[], int]], None]) -> None:
    def action() -> int:
        raise KeyboardInterrupt

    verb(action)
    assert retinaserve.main(["probe"]) == 130


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), ModuleNotFoundError(name="model.gone")])
def test_bug_keeps_its_traceback(verb: Callable[[Callable[[], int]], None], bug: Exception) -> None:
    def action() -> int:
        raise bug

    verb(action)
    with pytest.raises(type(bug)):
        retinaserve.main(["probe"])
