"""The batch normalisation of backbones: with constant statistics, or with those of the batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.distributed import world_size
from model.errors import InputError

BackboneNorm = Literal["frozen", "trained", "sync"]
"""Constant statistics (paper), those of the batch, or those of the batches of all processes."""

NormLayer = Callable[[int], nn.Module]


def norm_layer(norm: BackboneNorm, eps: float) -> NormLayer:
    """Makes the normalisation of so many channels.

    `sync` needs several processes, which must have been joined before: alone it is `trained`.
    """
    if norm == "frozen":
        return partial(FrozenBatchNorm2d, eps=eps)
    synced = norm == "sync" and world_size() > 1
    return partial(nn.SyncBatchNorm if synced else nn.BatchNorm2d, eps=eps)


def check_norm(norm: BackboneNorm, device: torch.device | str) -> None:
    """Raises InputError where `norm` can't be trained: torch synchronises it on GPUs alone."""
    if norm == "sync" and world_size() > 1 and torch.device(device).type == "cpu":
        raise InputError(
            f"norm 'sync' of {world_size()} processes on the CPU: torch synchronises batch norm on "
            "GPUs only; accepted here are frozen and trained"
        )


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and affine terms never change.

    Detection batches are too small for batch statistics. Same keys as `nn.BatchNorm2d` but for
    `num_batches_tracked`, so that classification weights load.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (
            ("weight", torch.ones(channels)),
            ("bias", torch.zeros(channels)),
            ("running_mean", torch.zeros(channels)),
            ("running_var", torch.ones(channels)),
        ):
            self.register_buffer(name, value)

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def affine(self) -> tuple[Tensor, Tensor]:
        """What each channel is multiplied by, and what is added then: [C] each."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """Normalises [B, C, H, W]."""
        scale, shift = self.affine()
        return x * scale[:, None, None] + shift[:, None, None]


def conv_then_norm(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """`norm(conv(x))` for a convolution without bias.

    Frozen norm becomes part of the weights. The result is the same up to rounding; two passes over
    the map are saved, there and back, and so is the memory of the map between the two.
    """
    if not isinstance(norm, FrozenBatchNorm2d):
        return norm(conv(x))  # type: ignore[no-any-return]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is None
    scale, shift = norm.affine()
    weight = conv.weight * scale[:, None, None, None]
    return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)
