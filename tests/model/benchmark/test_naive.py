"""The naive training loss as an oracle of the one that is used."""

from __future__ import annotations

import pytest
import torch

from model.anchors import anchors_of_canvas
from model.benchmark.naive import naive_detection_loss
from model.criterion import Target, detection_loss
from model.losses.rule import LossRule
from model.matching import Matching
from model.retinanet import Predictions


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 1.0), (0.75, 0.0)])
def test_naive_loss_and_gradient_are_those_of_detection_loss(alpha: float, gamma: float) -> None:
    anchors = anchors_of_canvas((128, 160))
    logits = [(2 * torch.randn(3, len(level), 4) - 3).requires_grad_() for level in anchors]
    deltas = [(0.3 * torch.randn(3, len(level), 4)).requires_grad_() for level in anchors]
    targets = []
    for count in (12, 0, 3):
        corner = torch.rand(count, 2) * 90
        boxes = torch.cat([corner, corner + 4 + torch.rand(count, 2) * 60], dim=1)
        classes = torch.randint(0, 4, (count,))
        targets.append(Target(boxes, classes, torch.zeros(0, 4), torch.ones(4, dtype=torch.bool)))
    predictions = Predictions(logits, deltas)
    rule = LossRule(alpha=alpha, gamma=gamma, box="l1", normaliser="image")
    ours = detection_loss(predictions, anchors, targets, Matching(), rule)
    naive = naive_detection_loss(predictions, anchors, targets, alpha, gamma)
    assert ours.classes.item() == pytest.approx(naive[0].item(), rel=1e-5)
    assert ours.boxes.item() == pytest.approx(naive[1].item(), rel=1e-5)
    tensors = [*logits, *deltas]
    gradients = torch.autograd.grad(ours.total, tensors)
    expected = torch.autograd.grad(naive[0] + naive[1], tensors)
    for found, other in zip(gradients, expected, strict=True):
        assert torch.allclose(found, other, rtol=1e-3, atol=1e-7)
