"""Files of tensors, read without running what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from model.errors import InputError


def read_weights(path: Path) -> Any:
    """What `torch.save` wrote into a file, on the CPU: tensors and plain values only.

    Raises InputError for a file that is missing, isn't one of these, or holds anything else: a
    weights file must not be able to run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such weights file") from None
    except Exception:
        # torch's own messages advise to switch the protection off.
        raise InputError(
            f"{path}: not a weights file: accepted is what torch.save writes of tensors and plain "
            "values, whole"
        ) from None
