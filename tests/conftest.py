"""Fixtures that many tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from export.manifest import Bundle, read_bundle
from model.letterbox import Canvas
from model.synthetic.dataset import write_scenes

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
"""Real data beside the repository, where there is some; nothing of it is in the repository."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; skips the test where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def cells(shared_data: Path) -> Path:
    """The blood cell data set: images/, train.json, val.json, voc/."""
    return shared_data / "cells"


@pytest.fixture(scope="session")
def photos(shared_data: Path) -> Path:
    """Everyday photos with COCO boxes: images/, instances.json."""
    return shared_data / "photos"


@pytest.fixture(scope="session")
def awkward(shared_data: Path) -> Path:
    """Image files that break naive decoders, listed in manifest.json."""
    return shared_data / "awkward"


@pytest.fixture(scope="session")
def backbones(shared_data: Path) -> Path:
    """Backbones trained on ImageNet."""
    return shared_data / "backbones"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn scenes of 240x320 pixels: images/ and annotations.json."""
    folder = tmp_path_factory.mktemp("drawn")
    write_scenes(folder, count=3, seed=5, size=(240, 320))
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint file of a small untrained detector that finds things; see `tests.tiny`."""
    from model.checkpoint import save_checkpoint
    from tests.tiny import make_tiny_checkpoint

    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    save_checkpoint(path, make_tiny_checkpoint())
    return path


@pytest.fixture(scope="session")
def small_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn scenes of 96x128 pixels: images/ and annotations.json."""
    folder = tmp_path_factory.mktemp("small_scenes")
    write_scenes(folder, count=6, seed=11, size=(96, 128))
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(
    tiny_checkpoint: Path, small_scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """`tiny_checkpoint` as a bundle: scales 64 and 96, two canvases each, fp32 and int8.

    Made once a session, for reading only: a test that spoils it copies its folder.
    """
    from export.bundle import ExportRule, export_bundle
    from export.draft import source_facts
    from model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(tiny_checkpoint)
    rule = ExportRule(
        name="tiny",
        scales=(64, 96),
        canvases=(Canvas(64, 96), Canvas(96, 64), Canvas(96, 128), Canvas(128, 96)),
        precisions=("fp32", "int8"),
        calibration=small_scenes / "images",
    )
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    export_bundle(checkpoint, source_facts(tiny_checkpoint, checkpoint), out, rule, lambda _: None)
    return read_bundle(out)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, by Playwright; skips the test where there is none."""
    from playwright.sync_api import sync_playwright

    # Not for the whole session: while it lasts its event loop runs in this thread, and no test
    # with a loop of its own could.
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None:
        pytest.skip(f"needs a browser on the path: {', '.join(BROWSERS)}")
    with sync_playwright() as engine:
        # A container has no user namespaces for the browser's own sandbox.
        running = engine.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield running
        running.close()
