from __future__ import annotations

import pytest

from loadtest.balancer import find_haproxy
from model.errors import InputError


@pytest.fixture
def haproxy() -> None:
    """Skips the test where HAProxy is not installed."""
    try:
        find_haproxy()
    except InputError as error:
        pytest.skip(str(error))
