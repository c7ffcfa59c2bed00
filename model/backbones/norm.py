"""Batch normalisation with constant statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and affine terms never change.

    Detection batches are too small for batch statistics. Same keys as `nn.BatchNorm2d`, so that
    classification weights load; a pre-trained `num_batches_tracked` is dropped.
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

    def forward(self, x: Tensor) -> Tensor:
        """Normalises [B, C, H, W]."""
        # One fused kernel: a multiply and an add here made a bf16 training forward several times
        # slower on CPU.
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
