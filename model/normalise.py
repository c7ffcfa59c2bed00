"""From canvas bytes to what the network sees; the same operators in training and in the graph."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(
    images: Tensor,
    image_sizes: Tensor,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Tensor:
    """Normalised images with everything outside the valid part zero.

    Shapes: uint8 RGB [B, H, W, 3] and int64 [B, 2] (valid height, width) -> float32 [B, 3, H, W].
    """
    # One multiply and one add a pixel, in this order, wherever it runs.
    scale = torch.tensor([1 / (255 * s) for s in std], device=images.device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=images.device)
    x = (images.float() * scale + shift).permute(0, 3, 1, 2)
    rows = torch.arange(images.shape[1], device=images.device)
    columns = torch.arange(images.shape[2], device=images.device)
    inside_rows = rows[None, :] < image_sizes[:, :1]
    inside_columns = columns[None, :] < image_sizes[:, 1:]
    inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return torch.where(inside, x, torch.zeros_like(x))
