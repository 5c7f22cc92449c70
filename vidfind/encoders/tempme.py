"""TempMe: merges tokens inside frames, then joins neighbouring frames and merges across them.

Shen et al., "TempMe: Video Temporal Token Merging for Efficient Text-Video Retrieval", ICLR 2025, sections 3.2 and 3.3.
Letters as in towers/tokens.py.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.encoders.backbone import Backbone, mean_of_unit_vectors
from vidfind.towers.loop import Reduction
from vidfind.towers.tokens import Tokens, join, merge


@dataclass(frozen=True)
class Strength:
    """How much is merged. The defaults are those of the paper for ViT-B/32."""

    image_merge: int = 2
    """Patch tokens merged inside each frame in a block before the first join (ImgMe): r."""
    cross_ratio: float = 0.30
    """Share of a joined sequence that is merged before attention (ClipMe, across)."""
    intra_ratio: float = 0.10
    """Share of a joined sequence that is merged after attention (ClipMe, within)."""


PAPER_STRENGTH = Strength()
JOIN_FACTORS = ((2, 2, 3), (2, 2, 2))
"""How many neighbouring sequences each of three blocks joined in earlier versions, for any T that a product divides."""


def fast_strength(num_patches: int) -> Strength:
    """Returns the mildest of the tried strengths with at least 95 % fewer tokens and 51 % fewer GFLOPs than plain CLIP.

    This holds with ViT-B/32 (r = 4 of 49 patches a frame) and ViT-B/16 (r = 16 of 196), at 12 frames.
    """
    return Strength(image_merge=round(num_patches * 4 / 49), cross_ratio=0.40, intra_ratio=0.20)


def join_factors(num_frames: int) -> tuple[int, int, int]:
    """Returns how many neighbouring sequences each of three blocks joins, so that all frames are one sequence at last.

    The later ones join more, as in the paper: 2-2-3 for 12 frames, 2-2-2 for 8, 2-2-4 for 16, 2-4-4 for 32. Raises
    ValueError if the number is no product of three."""
    products = [
        (first, second, num_frames // (first * second))
        for first in range(2, num_frames)
        for second in range(first, num_frames // first)
        if num_frames % (first * second) == 0 and num_frames // (first * second) >= second
    ]
    if not products:
        raise ValueError(f"TempMe cannot join {num_frames} frames in three steps: use 8, 12, 16, 24 or 32")
    return min(products, key=lambda factors: factors[2])


def tempme_joins(depth: int, num_frames: int, in_parts: bool = False) -> dict[int, int]:
    """Maps block numbers to the number of sequences joined before the block: the paper's schedule, scaled to `depth`.

    ImgMe in the first two thirds, then three joins; the remaining blocks only merge within the clip. `in_parts`: as in
    earlier versions, which left several sequences of clips of 16 frames or more.
    Raises ValueError if there are fewer than 5 blocks, or if `num_frames` cannot be joined.
    """
    if depth < 5:
        raise ValueError(f"TempMe needs at least 5 transformer blocks, not {depth}")
    factors = next((f for f in JOIN_FACTORS if in_parts and num_frames % (f[0] * f[1] * f[2]) == 0), None)
    factors = factors or join_factors(num_frames)
    first = min(depth * 2 // 3, depth - 4)  # at least one block after the joins, as in the paper
    return {first + i: factor for i, factor in enumerate(factors)}


def position_name(block: int) -> str:
    return f"visual.transformer.resblocks.{block}.temporal_position"


def is_position(name: str) -> bool:
    """Returns whether the tensor of this name is a temporal position."""
    return name.endswith(".temporal_position")


def tempme_position_shapes(depth: int, num_frames: int, in_parts: bool = False) -> dict[int, int]:
    """Maps block numbers to the number of sequences that enter its join; each has one temporal position."""
    shapes = {}
    for block, factor in tempme_joins(depth, num_frames, in_parts).items():
        shapes[block] = num_frames
        num_frames //= factor
    return shapes


def tempme_positions(backbone: Backbone) -> dict[str, Tensor]:
    """Returns the temporal positions (F, C) before training: zeros."""
    shapes = tempme_position_shapes(backbone.tower.depth, backbone.num_frames, backbone.reading == "parts")
    return {position_name(block): torch.zeros(f, backbone.tower.width) for block, f in shapes.items()}


def fit_position(position: Tensor, f: int) -> Tensor:
    """Interpolates a temporal position (F, C) to (f, C), for clips of another number of frames than in training."""
    if len(position) == f:
        return position
    return F.interpolate(position.T[None], size=f, mode="linear", align_corners=False)[0].T


def tempme_reduction(backbone: Backbone, strength: Strength = PAPER_STRENGTH) -> Reduction:
    """Returns the reduction. Missing temporal positions count as zero. Raises ValueError as `tempme_joins` does."""
    joins = tempme_joins(backbone.tower.depth, backbone.num_frames, backbone.reading == "parts")
    first_join = min(joins)

    def before_block(i: int, tokens: Tokens) -> Tokens:
        if i not in joins:
            return tokens
        j = joins[i]
        joined = join(tokens, j, apart=backbone.reading == "frame")
        n, c = joined.x.shape[1], joined.num_cls
        k = min((n - c) // 2, int(n * strength.cross_ratio))
        # The matching uses the residual stream before the position is added. Like the authors' code, this adds no
        # position when nothing is merged, so that their adapters give the same results here.
        metric = joined.x.detach()
        position = backbone.parameters.get(position_name(i))
        if position is not None and k > 0:
            joined = replace(joined, x=add_position(joined, fit_position(position, tokens.num_sequences)))
        return merge(joined, metric, k)

    def before_mlp(i: int, tokens: Tokens, keys: Tensor) -> Tokens:
        n, c = tokens.x.shape[1], tokens.num_cls
        k = strength.image_merge if i < first_join else int(n * strength.intra_ratio)
        return merge(tokens, keys, min((n - c) // 2, k))

    return Reduction(before_block, before_mlp, mean_of_unit_vectors)


def tempme_fast_reduction(backbone: Backbone) -> Reduction:
    return tempme_reduction(backbone, fast_strength(backbone.tower.num_patches))


def add_position(joined: Tokens, position: Tensor) -> Tensor:
    """Adds to each joined token (B * F, N, C) the `position` (F * j, C) of the sequence it came from."""
    f, n, c = joined.num_sequences, joined.x.shape[1], joined.num_cls
    position = position.to(joined.x.dtype).reshape(f, -1, position.shape[-1])  # (F, j, C)
    j = position.shape[1]
    by_token = torch.cat(
        [position.repeat_interleave(c // j, dim=1), position.repeat_interleave((n - c) // j, dim=1)], dim=1
    )  # (F, N, C)
    return (joined.x.reshape(-1, f, *joined.x.shape[1:]) + by_token).flatten(0, 1)
