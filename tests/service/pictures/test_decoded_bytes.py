"""No file takes more memory than is reserved for it, by the peak of a process that decodes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.pictures.images import DEFAULT_MAX_PIXELS
from service.settings import Settings
from tests.service.peak import MEASURABLE, WHY_NOT

pytestmark = pytest.mark.skipif(not MEASURABLE, reason=WHY_NOT)

ROOT = Path(__file__).parents[3]


def measure(megapixels: float, *names: str) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "tests/service/decode_memory.py", str(megapixels), *names],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


def beyond(found: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {name: told for name, told in found.items() if told["grew"] > told["reserved"]}


@pytest.mark.parametrize("megapixels", [0.01, 1])
def test_no_type_of_file_takes_more_than_is_reserved_for_it(megapixels: float) -> None:
    found = measure(megapixels)
    assert len(found) >= 43
    assert beyond(found) == {}


@pytest.mark.slow
def test_reservations_hold_at_the_pixel_cap() -> None:
    found = measure(DEFAULT_MAX_PIXELS / 1e6)
    assert beyond(found) == {}
    budget = Settings().max_decoded_bytes
    for name in ("jpeg", "jpeg turned", "png", "png rgba", "png turned", "gif transparent"):
        assert found[name]["reserved"] <= budget
