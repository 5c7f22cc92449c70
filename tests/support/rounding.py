"""How far two results may lie apart that are the same but for rounding."""

import torch

STEPS = 32
"""Measured in trials that round each result of each layer otherwise: eight at most, for towers of twelve blocks."""


def rounding(size: float = 1.0, dtype: torch.dtype = torch.float32) -> float:
    """The absolute tolerance for numbers computed from numbers as large as `size`, on another CPU or in another batch.

    By default for unit vectors in float32: 4e-6."""
    return STEPS * torch.finfo(dtype).eps * size
