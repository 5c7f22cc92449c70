"""Embeds the patches of frames with the weights of a convolution. The normalisation of pixels is folded in.

Letters as in tokens.py: S pixels, P patches a frame, p pixels a patch's side, C width.
"""

import weakref
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = tuple[Tensor, Tensor]
FRAMES_AT_A_TIME = 16
"""So many frames go through several convolutions together; these hold a hundred MB for more."""


class PatchEmbedding:
    """Embeds patches, and keeps the folded weights: making them takes as long as half a clip."""

    def __init__(self) -> None:
        self._made: tuple[weakref.ref[Tensor], int, Weights] | None = None
        """The weight of the convolution, its version, and what was made of it. The weight may be one of many that lie
        in a file which is mapped: held here, all of them would stay in memory."""

    def __call__(self, frames: Tensor, conv: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """Frames (N, S, S, 3) uint8 -> their patches (N, P, C), in the number format of the convolution."""
        dtype = conv.weight.dtype
        return F.linear(cut(frames, conv.weight.shape[-1]).to(dtype) - 128, *self._weights(conv, mean, std))

    def _weights(self, conv: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> Weights:
        weight, made = conv.weight, self._made
        if torch.is_grad_enabled() or weight.is_inference():
            return folded(conv, mean, std)
        if made is None or made[0]() is not weight or made[1] != weight._version:
            made = self._made = (weakref.ref(weight), weight._version, folded(conv, mean, std))
        return made[2]


def cut(frames: Tensor, size: int) -> Tensor:
    """Frames (N, S, S, 3) -> their patches of `size` pixels (N, P, size * size * 3), row by row.

    Pixels at the right and below that fill no patch are left out."""
    grid, count = frames.shape[1] // size, len(frames)
    frames = frames[:, : grid * size, : grid * size]
    return frames.reshape(count, grid, size, grid, size, 3).transpose(2, 3).reshape(count, grid**2, -1)


def folded(conv: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> Weights:
    """`fold_normalisation` in the number format of the convolution."""
    weight, bias = fold_normalisation(conv, mean, std)
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


def fold_normalisation(conv: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> Weights:
    """Weight (C, p * p * 3) and bias (C,) of the embedding of patches, for pixels from -128 to 127, in float32.

    The normalisation of pixels is folded in: for each pixel it would take as long as two blocks. bfloat16 represents
    -128..127 exactly, and they are about as small as normalised values."""
    middle, deviation = (torch.tensor(values, device=conv.weight.device) for values in (mean, std))
    by_channel = conv.weight.permute(0, 2, 3, 1).float() / deviation  # (C, p, p, 3)
    grey = (by_channel * (128 / 255 - middle)).sum((1, 2, 3))
    return (by_channel / 255).flatten(1), grey if conv.bias is None else grey + conv.bias.float()
