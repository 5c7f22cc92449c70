"""The model that an encoder works in, and the steps of a `Reduction` that most encoders share.

This module knows no encoder by name: table.py lists them. Letters as in towers/tokens.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from vidfind.towers.loop import Tower
from vidfind.towers.tokens import Tokens


@dataclass(frozen=True)
class Backbone:
    """The model that a reduction works in: an image tower, T frames, and the tensors that training added."""

    tower: Tower
    num_frames: int
    parameters: Mapping[str, Tensor]
    """Tensors of the reduction, by their names in an adapter. Read at each use, because training replaces them."""
    model: Any = None
    """The model that the tower belongs to, for a reduction that also reads its text tower."""
    reading: str = "clip"
    """A `names.Reading`."""


def keep_before_block(i: int, tokens: Tokens) -> Tokens:
    return tokens


def keep_before_mlp(i: int, tokens: Tokens, keys: Tensor) -> Tokens:
    return tokens


def mean_of_unit_vectors(read: Tensor, projected: Tensor) -> Tensor:
    """(B, M, C), (B, M, D) -> (B, D): the mean of the projections as unit vectors, itself not of unit length."""
    return F.normalize(projected, dim=-1).mean(dim=1)
