"""Which losses a run trains with: the `[loss]` section of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from pydantic import ConfigDict

from model.errors import InputError
from model.losses.boxes import BOX_LOSSES
from model.losses.classification import (
    ClassLoss,
    HardLabelLoss,
    QualityFocalLoss,
    cross_entropy,
    focal,
    focal_star,
    hinge,
)
from model.losses.mining import Mining

NO_BALANCE = -1.0
"""The alpha that weights positives and negatives alike."""

NORMALISERS = ("batch", "image")


@dataclass(frozen=True)
class LossRule:
    """Which losses, and how they are weighed.

    `classes`: one of CLASS_LOSSES. `alpha` (0 to 1, or -1 for no balance) weighs all of them but
    cross_entropy and quality_focal; `gamma` belongs to focal, focal_star and quality_focal, `shift`
    (the paper's beta of Eq. 7) to focal_star, `margin` to hinge.
    `box`: smooth_l1 (with `beta`), l1 (on deltas), or giou (on decoded boxes).
    `normaliser`: losses are summed over their own image and divided by its number of anchors
    assigned to a box, then averaged (`image`: paper, sec. 4.1), or summed over the whole batch of
    all processes and divided by its number of assigned anchors (`batch`).
    `mining`: the class loss of the hardest anchors alone; none of it in the paper's RetinaNet.
    Departs: `batch` is the default: by `image` the few anchors of a picture with one small object
    weigh as much as the hundreds of a crowded one. `giou` and `box_weight` are not in the paper,
    whose choice is smooth_l1 with weight 1.
    """

    classes: str = "focal"
    alpha: float = 0.25
    gamma: float = 2.0
    shift: float = 0.0
    margin: float = 0.5
    box: str = "smooth_l1"
    beta: float = 1.0
    box_weight: float = 1.0
    normaliser: str = "batch"
    mining: Mining | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        for key, accepted in (
            ("classes", CLASS_LOSSES),
            ("box", BOX_LOSSES),
            ("normaliser", NORMALISERS),
        ):
            name = getattr(self, key)
            if name not in accepted:
                raise InputError(f"loss {key} {name!r}: accepted are {', '.join(accepted)}")
        for key, low, high in (
            ("gamma", 0.0, 5.0),
            ("shift", -10.0, 10.0),
            ("margin", 0.0, 1.0),
            ("beta", 0.0, 100.0),
            ("box_weight", 0.0, 1000.0),
        ):
            value = getattr(self, key)
            if not low <= value <= high:
                raise InputError(f"loss {key} {value}: accepted are {low} to {high}")
        if not (self.alpha == NO_BALANCE or 0.0 <= self.alpha <= 1.0):
            raise InputError(f"loss alpha {self.alpha}: accepted are 0 to 1, or -1 for no balance")
        self._check_together()

    def _check_together(self) -> None:
        """Refuses settings that mean nothing beside each other."""
        if self.classes == "balanced_cross_entropy" and self.alpha == NO_BALANCE:
            raise InputError(
                "loss alpha -1 leaves balanced_cross_entropy without balance: "
                "accepted are 0 to 1, or classes = 'cross_entropy'"
            )
        if self.classes == "focal_star" and self.gamma == 0:
            raise InputError("loss gamma 0: focal_star divides by it, accepted are above 0 to 5")
        for key, owner, default in (("shift", "focal_star", 0.0), ("margin", "hinge", 0.5)):
            if self.classes != owner and getattr(self, key) != default:
                raise InputError(
                    f"loss {key} {getattr(self, key)} with {self.classes}: "
                    f"only {owner} has one; leave it out"
                )
        if self.classes == "quality_focal" and self.mining:
            raise InputError(
                "loss mining with quality_focal: its loss is small for a badly placed box with a "
                f"low score, so it doesn't rank examples; accepted are {', '.join(_RANKING)}"
            )

    def class_loss(self) -> ClassLoss:
        """The class loss that the rule names, with its settings."""
        return CLASS_LOSSES[self.classes](self)


CLASS_LOSSES: dict[str, Callable[[LossRule], ClassLoss]] = {
    "cross_entropy": lambda rule: HardLabelLoss(cross_entropy, NO_BALANCE),
    "balanced_cross_entropy": lambda rule: HardLabelLoss(cross_entropy, rule.alpha),
    "focal": lambda rule: HardLabelLoss(partial(focal, gamma=rule.gamma), rule.alpha),
    "focal_star": lambda rule: HardLabelLoss(
        partial(focal_star, gamma=rule.gamma, shift=rule.shift), rule.alpha
    ),
    "hinge": lambda rule: HardLabelLoss(partial(hinge, margin=rule.margin), rule.alpha),
    "quality_focal": lambda rule: QualityFocalLoss(rule.gamma),
}
_RANKING = [name for name in CLASS_LOSSES if name != "quality_focal"]
