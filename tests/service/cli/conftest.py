"""A bundle made by hand, whose detections are known without running any model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.bundles import write_known_bundle


@pytest.fixture(scope="session")
def known_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_known_bundle`."""
    return write_known_bundle(tmp_path_factory.mktemp("known_bundle"))


@pytest.fixture(autouse=True)
def _logging_as_before(logging_as_before: None) -> None:
    """`serve` sets up logging for a process of its own."""
