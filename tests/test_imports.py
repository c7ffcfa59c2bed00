"""What may import what, where the import contracts of `make check` do not look: at run time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("model", "export", "service", "loadtest")

BLOCK = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnxscript", "onnx_ir"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Block())
"""


def modules_of(package: str) -> list[str]:
    """The dotted names of every module under a top-level package."""
    files = sorted((ROOT / package).rglob("*.py"))
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in files]
    return [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_service_imports_without_torch_and_onnx() -> None:
    imports = "\n".join(f"import {name}" for name in modules_of("service"))
    done = run_python(BLOCK + imports)
    assert (done.returncode, done.stderr) == (0, "")


def test_block_does_block() -> None:
    done = run_python(BLOCK + "import torch")
    assert "torch is blocked" in done.stderr


def test_torch_free_files_import_without_torch() -> None:
    names = [
        "export.manifest",
        "model.cli.draw",
        "model.errors",
        "model.files",
        "model.geometry",
        "model.letterbox",
        "model.machine",
        "model.pictures",
        *(name for name in modules_of("model") if name.startswith("model.synthetic.")),
        *(
            name
            for name in modules_of("export")
            if name.startswith("export.engines.") and "torch" not in name
        ),
    ]
    done = run_python(BLOCK + "\n".join(f"import {name}" for name in names))
    assert (done.returncode, done.stderr) == (0, "")


def test_import_starts_no_engine_and_no_thread() -> None:
    imports = "\n".join(f"import {name}" for name in modules_of("service"))
    check = "import threading; sys.exit(threading.active_count() - 1)"
    assert run_python(f"import sys\n{imports}\n{check}").returncode == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_init_files_are_there_and_empty(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if (folder / "__init__.py").read_text()] == []
