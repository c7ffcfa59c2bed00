"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.synthetic.dataset import write_scenes

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
"""Real data beside the repository, where there is some; nothing of it is in the repository."""


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
