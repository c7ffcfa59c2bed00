"""The commands and links of README and docs are real: what they show is what the code accepts."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import retinaserve
from model.recipe_file import parse_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("model/**/*.md")])


def commands_of(text: str) -> list[str]:
    """The `retinaserve` commands of a document, lines that end in a backslash joined."""
    joined = re.sub(r"\\\n +", " ", text)
    return re.findall(r"(?:^ +(?:\.venv/serve/bin/)?|`)retinaserve ([a-z][^`\n]*)", joined, re.M)


@pytest.mark.parametrize(
    ("document", "command"),
    [
        (str(document.relative_to(ROOT)), command)
        for document in DOCUMENTS
        for command in commands_of(document.read_text(encoding="utf-8"))
    ],
)
def test_command_in_the_docs_parses(document: str, command: str) -> None:
    name, *arguments = shlex.split(command)
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(retinaserve.VERBS[name].module).configure(parser)
    if arguments:
        parser.parse_args(arguments)


def test_readme_shows_the_way() -> None:
    named = {command.split()[0] for command in commands_of(README)}
    assert {"detect", "doctor", "train", "import", "export", "evaluate", "bench", "serve"} <= named


def test_recipe_in_the_readme_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    assert parse_recipe(tomllib.loads(text), "README.md").name == "mine"


def test_make_targets_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        assert set(re.findall(r"(?:`|^ +)make ([a-z-]+)", text, re.M)) <= targets


def test_links_in_the_docs_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document}: {target}"
