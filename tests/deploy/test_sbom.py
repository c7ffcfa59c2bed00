from __future__ import annotations

import re

from tests.service.started import ROOT


def test_the_list_of_packages_is_of_the_extras_that_the_image_has():
    (named,) = re.findall(r"^IMAGE_EXTRAS := (.+)$", (ROOT / "Makefile").read_text(), re.M)
    (installed,) = re.findall(
        r"requirements\.py (\S+) >cpu\.txt", (ROOT / "Dockerfile").read_text()
    )
    assert named == installed == "cpu,otel"
