from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.bundles import write_known_bundle


@pytest.fixture(scope="session")
def known_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_known_bundle`."""
    return write_known_bundle(tmp_path_factory.mktemp("known_bundle"))
