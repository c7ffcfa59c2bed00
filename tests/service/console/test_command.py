"""The curl command does what the page shows."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.service.console.visits import CELL, PICTURE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
]


def test_the_command_does_what_the_page_shows(server, look, tmp_path):
    name = "it's my cell.png"
    (tmp_path / name).write_bytes(PICTURE)
    console = look(server.url)
    console.set_input_files("#files", {**CELL, "name": name})
    console.answered()
    console.slide("threshold", 0.2)
    console.get_by_role("checkbox", name="Platelets").uncheck()
    console.locator("#scales").get_by_role("radio", name="64").check()
    console.answered()
    answer = shell(console.locator("#curl").inner_text(), tmp_path)
    assert answer["scale"] == 64
    assert [f"{found['score']:.3f}" for found in answer["detections"]] == console.scores()
    assert console.scores() == ["0.900", "0.250"]


def test_the_command_of_the_example_needs_no_file(server, look, tmp_path):
    console = look(server.url, permissions=["clipboard-read", "clipboard-write"])
    console.get_by_role("button", name="Try an example").click()
    console.answered()
    console.get_by_role("button", name="Copy").click()
    console.get_by_role("button", name="Copied").wait_for()
    copied = console.evaluate("() => navigator.clipboard.readText()")
    assert copied == console.locator("#curl").inner_text()
    answer = shell(copied, tmp_path)
    assert answer["image"] == {"width": 640, "height": 480}
    assert len(answer["detections"]) == console.boxes() == 1


def shell(command: str, folder: Path) -> Any:
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, capture_output=True, timeout=60, check=True
    )
    return json.loads(done.stdout)
