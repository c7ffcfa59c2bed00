"""The image that the sources and ours look at."""

from __future__ import annotations

import numpy as np
import pytest

from tests.model.interop.plain import blocks_and_noise


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return blocks_and_noise()
