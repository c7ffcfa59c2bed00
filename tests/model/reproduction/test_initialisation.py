"""The loss that training starts from."""

from __future__ import annotations

import math

import pytest

from model.letterbox import Canvas
from model.losses.rule import LossRule
from model.reproduction import initialisation
from model.reproduction.initialisation import first_losses

CLASSES = 80


@pytest.mark.parametrize("prior", [0.5, 0.01])
def test_first_loss_is_that_of_the_prior(monkeypatch: pytest.MonkeyPatch, prior: float) -> None:
    monkeypatch.setattr(initialisation, "OBJECT", (32.0, 32.0, 96.0, 96.0))
    found = first_losses({"FL": LossRule()}, None, Canvas(128, 160))
    assert found.anchors == 9 * (16 * 20 + 8 * 10 + 4 * 5 + 2 * 3 + 1 * 2)
    background = 0.75 * prior**2 * -math.log(1 - prior) * (found.anchors * CLASSES)
    positive = 0.25 * (1 - prior) ** 2 * -math.log(prior)
    # The anchors between the thresholds, one in a hundred, don't count.
    assert found.losses["FL", prior] == pytest.approx(
        background / found.positives + positive, rel=0.02
    )


@pytest.mark.slow
def test_first_loss_at_the_papers_size() -> None:
    found = first_losses({"FL": LossRule()}, None)
    assert (found.anchors, found.positives) == (116_712, 44)
    assert found.losses["FL", 0.5] == pytest.approx(27_560, rel=0.01)
    assert found.losses["FL", 0.01] == pytest.approx(1.29, rel=0.05)
