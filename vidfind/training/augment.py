"""Augments training clips: all frames of a clip get the same random changes, so that its motion stays the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

SIDES = re.compile(r"\b(left|right|(anti-?|counter-?)?clockwise)(wards?)?\b", re.IGNORECASE)
MIRRORED = 0.5  # share of the clips whose captions name no side
LAYERS = 2  # operations on one clip
GREY = 118.0  # the mean of ImageNet

# RandAugment (Cubuk et al., 2020), as TempMe trains with it, but without solarize, posterize, equalize, colour and
# contrast: captions of one's own videos are full of colours ("the blue kayak"). Strengths are random, -1 to 1.
OPERATIONS: tuple[Callable[[Tensor, float], Tensor], ...] = (
    lambda x, strength: x,
    lambda x, strength: _move(x, angle=9 * strength),
    lambda x, strength: _move(x, right=strength * 0.1),
    lambda x, strength: _move(x, down=strength * 0.1),
    lambda x, strength: _move(x, scale=1 + 0.15 * strength),
    lambda x, strength: transforms.adjust_brightness(x, 1 + 0.25 * strength),
    lambda x, strength: transforms.adjust_sharpness(x, 1 + 0.5 * strength),
)


def names_side(caption: str) -> bool:
    """Whether a caption names a side or a sense of rotation, which a mirror would change."""
    return SIDES.search(caption) is not None


def augment(clip: Tensor, caption: str, rng: Random) -> Tensor:
    """Returns a changed clip (T, S, S, 3) uint8; half of the clips are mirrored, unless the caption names a side."""
    frames = clip.permute(0, 3, 1, 2)  # (T, 3, S, S)
    if rng.random() < MIRRORED and not names_side(caption):
        frames = frames.flip(-1)
    for operation in rng.choices(OPERATIONS, k=LAYERS):
        frames = operation(frames, rng.uniform(-1, 1))
    return frames.permute(0, 2, 3, 1)


def _move(x: Tensor, angle: float = 0, right: float = 0, down: float = 0, scale: float = 1) -> Tensor:
    """Rotates by degrees, moves by shares of the picture, and scales; fills empty parts with a medium grey."""
    size = x.shape[-1]
    moved: Tensor = transforms.affine(
        x,
        angle=angle,
        translate=[right * size, down * size],
        scale=scale,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=[GREY] * 3,
    )
    return moved
