"""What every backbone is: a network in five stages, the first of which may be frozen."""

from __future__ import annotations

from typing import Self

from torch import nn

from model.errors import InputError

STAGES = 5
"""One for each of the strides 2, 4, 8, 16 and 32."""


class Backbone(nn.Module):
    """C3, C4 and C5 (strides 8, 16, 32) of an image: [B, 3, H, W] -> [B, C, H/s, W/s] each."""

    name: str
    """As in `model.backbones.registry.BACKBONES`."""
    channels: tuple[int, int, int]
    frozen_stages = 0

    def stages(self) -> list[nn.Module]:
        """What has weights in each of the five stages, from the stem on."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but the statistics of frozen stages never move."""
        super().train(mode)
        for stage in self.stages()[: self.frozen_stages]:
            stage.eval()
        return self


def freeze_stages(backbone: Backbone, count: int) -> None:
    """Keeps the first `count` stages as they are, statistics included, whatever trains the model.

    0: none. 1: the stem. 2: the stem and what has stride 4 (`layer1` of a ResNet; the choice of
    Detectron). 5: all.
    """
    if not 0 <= count <= STAGES:
        raise InputError(f"frozen_stages {count}: accepted are 0 to {STAGES}")
    for index, stage in enumerate(backbone.stages()):
        stage.requires_grad_(index >= count)
    backbone.frozen_stages = count
    backbone.train(backbone.training)
