"""The class losses, each with its derivative, from logits in float32.

A loss is given as a value and a slope, not left to autograd: the background of ~100k anchors times
K classes is swept in small pieces (`model.losses.chunked`), which keeps neither graph nor one-hot.
The paper's losses are functions of x_t = yx, y = +1 for the class of the anchor's box and -1
otherwise (Eq. 6), so that p_t = sigmoid(x_t); d/dx is y times their slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Graded(NamedTuple):
    """Losses and their derivatives by the input, both of its shape and float32."""

    loss: Tensor
    slope: Tensor


def cross_entropy(x_t: Tensor) -> Graded:
    """CE = -log(p_t); slope p_t - 1.  Focal Loss paper, Eq. 1 and 9."""
    return Graded(F.softplus(-x_t), -torch.sigmoid(-x_t))


def focal(x_t: Tensor, gamma: float) -> Graded:
    """FL = -(1 - p_t)^gamma log(p_t); slope (1 - p_t)^gamma (gamma p_t log(p_t) + p_t - 1).

    Source: Focal Loss paper, Eq. 4 and 10; with gamma 0 it is the cross entropy.
    """
    surprise = F.softplus(-x_t)  # -log(p_t)
    miss = torch.sigmoid(-x_t)  # 1 - p_t, without the cancellation near p_t = 1
    factor = miss**gamma
    slope = torch.addcmul(miss, 1 - miss, surprise, value=gamma).mul_(factor).neg_()
    return Graded(factor * surprise, slope)


def focal_star(x_t: Tensor, gamma: float, shift: float) -> Graded:
    """FL* = -log(p_t*) / gamma with p_t* = sigmoid(gamma x_t + shift); slope p_t* - 1.

    `gamma` above 0; `shift` is the paper's beta.
    Source: Focal Loss paper, appendix A, Eq. 7, 8 and 11.
    """
    moved = gamma * x_t + shift
    return Graded(F.softplus(-moved) / gamma, -torch.sigmoid(-moved))


def hinge(x_t: Tensor, margin: float) -> Graded:
    """max(0, margin - p_t); slope -p_t (1 - p_t) below the margin, 0 from it on.

    Source: Focal Loss paper, sec. 5.1, 'Hinge Loss': 'on p_t, which sets loss to 0 above a certain
    value of p_t'. The paper gives neither that value nor a formula: this is the hinge of Hastie et
    al. (its [13]) with p_t as the decision value and `margin` as the one to reach.
    """
    p_t = torch.sigmoid(x_t)
    slope = -p_t * torch.sigmoid(-x_t)
    return Graded((margin - p_t).clamp(min=0), slope.masked_fill_(p_t >= margin, 0.0))


def quality_focal(logits: Tensor, quality: Tensor, gamma: float) -> Graded:
    """|y - sigma|^gamma BCE(x, y) with a soft target y in [0, 1], the quality; slope by the logit.

    Source: Li et al., 2020, 'Generalized Focal Loss', Eq. 'QFL' (its beta is `gamma`).
    Departs: not in the paper. The target of an anchor's class is the IoU of its decoded box with
    its ground truth, so that scores learn to rank detections by how well they are placed.
    """
    sigma = torch.sigmoid(logits)
    entropy = quality * F.softplus(-logits) + (1 - quality) * F.softplus(logits)
    # Bounded by float32's resolution near 1: for gamma < 1 the power's slope at 0 is infinite.
    distance = (sigma - quality).abs().clamp(min=torch.finfo(torch.float32).eps)
    steepness = gamma * distance ** (gamma - 1) * torch.sign(sigma - quality)
    spread = sigma * torch.sigmoid(-logits)
    slope = distance**gamma * (sigma - quality) + steepness * spread * entropy
    return Graded(distance**gamma * entropy, slope)


class ClassLoss(Protocol):
    """A class loss with its settings, ready for logits; slopes are by the logit."""

    def background(self, logits: Tensor) -> Graded:
        """Losses of logits [..., K] whose targets are all 0."""

    def labelled(self, logits: Tensor, targets: Tensor) -> Graded:
        """Losses of logits [..., K] with targets [..., K] in [0, 1]."""


@dataclass(frozen=True)
class HardLabelLoss:
    """A loss of x_t for targets 0 and 1, weighted by alpha_t (paper, Eq. 3 and 5).

    `alpha` weights targets of 1, 1 - alpha those of 0; a negative alpha leaves both at 1.
    """

    curve: Callable[[Tensor], Graded]
    alpha: float

    def background(self, logits: Tensor) -> Graded:
        """See `ClassLoss`."""
        loss, slope = self.curve(-logits.float())
        weight = 1 - self.alpha if self.alpha >= 0 else 1.0
        return Graded(loss.mul_(weight), slope.mul_(-weight))

    def labelled(self, logits: Tensor, targets: Tensor) -> Graded:
        """See `ClassLoss`."""
        y = 2 * targets - 1
        loss, slope = self.curve(y * logits.float())
        if self.alpha >= 0:
            alpha_t = torch.where(targets > 0, self.alpha, 1 - self.alpha)
            loss, slope = alpha_t * loss, alpha_t * slope
        return Graded(loss, y * slope)


@dataclass(frozen=True)
class QualityFocalLoss:
    """`quality_focal` with its gamma; the background is its case of quality 0, weighted by 1."""

    gamma: float

    def background(self, logits: Tensor) -> Graded:
        """See `ClassLoss`."""
        loss, slope = focal(-logits.float(), self.gamma)
        return Graded(loss, slope.neg_())

    def labelled(self, logits: Tensor, targets: Tensor) -> Graded:
        """See `ClassLoss`."""
        return quality_focal(logits.float(), targets, self.gamma)
