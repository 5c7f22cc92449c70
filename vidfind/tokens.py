"""Token state and merging: pure functions on tensors, and the table of reductions.

A clip of T frames starts as T sequences of tokens, one class token each. A `Reduction` says how tokens are merged and
sequences joined on the way through the blocks, and how the class tokens become one vector. Knows nothing of models.

TempMe: Shen et al., "TempMe: Video Temporal Token Merging for Efficient Text-Video Retrieval", ICLR 2025.
Merging follows ToMe: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023.
Letters: B clips, T frames a clip, F sequences a clip is split into at this depth, N tokens a sequence, c class tokens
among them (always first), C width, D embedding size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """The tokens of some clips between two steps of a transformer."""

    x: Tensor  # (B * F, N, C)
    size: Tensor | None  # (B * F, N, 1): how many first tokens each stands for; None while each is one
    num_cls: int  # c
    num_sequences: int  # F


def merge(tokens: Tokens, metric: Tensor, k: int) -> Tokens:
    """Merge `k` patch tokens of each sequence into their most similar ones; class tokens stay as they are.

    Bipartite matching (ToMe, section 3): patch tokens alternate between A and B, each A looks for the B of highest
    cosine in `metric` (B * F, N, any width), and the k best-matched A are averaged into theirs, weighted by size.
    Result: class tokens, unmerged A in order, all B. No gradient flows through the matching.
    """
    if k <= 0:
        return tokens
    c = tokens.num_cls
    # Counted from the first class token on, A are the even positions and B the odd ones.
    a_start = c + c % 2
    b_start = c + (c + 1) % 2
    with torch.no_grad():
        metric = F.normalize(metric, dim=-1)
        similarity = metric[:, a_start::2] @ metric[:, b_start::2].transpose(1, 2)  # (B * F, |A|, |B|)
        best, partner = similarity.max(dim=-1)
        order = best.argsort(dim=-1, descending=True)
        merged = order[:, :k, None]
        kept = order[:, k:, None].sort(dim=1).values
        partner = partner[..., None].gather(1, merged)

    def sum_merged(x: Tensor) -> Tensor:
        width = x.shape[-1]
        a, b = x[:, a_start::2], x[:, b_start::2]
        b = b.scatter_add(1, partner.expand(-1, -1, width), a.gather(1, merged.expand(-1, -1, width)))
        return torch.cat([x[:, :c], a.gather(1, kept.expand(-1, -1, width)), b], dim=1)

    size = tokens.size if tokens.size is not None else torch.ones_like(tokens.x[..., :1])
    merged_size = sum_merged(size)
    return replace(tokens, x=sum_merged(tokens.x * size) / merged_size, size=merged_size)


def join(tokens: Tokens, j: int) -> Tokens:
    """Join `j` consecutive sequences of each clip: all their class tokens first, then all patches, in frame order."""

    def join_tensor(x: Tensor) -> Tensor:
        sequences, n, width = x.shape
        x = x.reshape(sequences // j, j, n, width)
        cls, patches = x[:, :, : tokens.num_cls], x[:, :, tokens.num_cls :]
        return torch.cat([cls.flatten(1, 2), patches.flatten(1, 2)], dim=1)

    return Tokens(
        x=join_tensor(tokens.x),
        size=None if tokens.size is None else join_tensor(tokens.size),
        num_cls=tokens.num_cls * j,
        num_sequences=tokens.num_sequences // j,
    )


@dataclass(frozen=True)
class Reduction:
    """The three places of the transformer loop in which ways of encoding a clip differ."""

    before_block: Callable[[int, Tokens], Tokens]
    """Given the block's number; before its attention."""
    before_mlp: Callable[[int, Tokens, Tensor], Tokens]
    """Given the block's number, the tokens after attention and its residual, and the attention keys averaged over
    heads (B * F, N, C / heads)."""
    pool: Callable[[Tensor], Tensor]
    """The projected class tokens (B, T, D) of the frames to one vector (B, D) a clip."""


def mean_of_unit_vectors(x: Tensor) -> Tensor:
    """(B, T, D) -> (B, D): the mean of the frames' unit vectors, itself not of unit length."""
    return F.normalize(x, dim=-1).mean(dim=1)


def mean_reduction(depth: int, num_frames: int, positions: Mapping[int, Tensor]) -> Reduction:
    """Each frame alone, unit vectors averaged: the CLIP baseline."""
    return Reduction(
        before_block=lambda i, tokens: tokens,
        before_mlp=lambda i, tokens, keys: tokens,
        pool=mean_of_unit_vectors,
    )


@dataclass(frozen=True)
class TempMeSchedule:
    """What TempMe does in which block. The defaults are the paper's for ViT-B/32."""

    joins: Mapping[int, int]
    """Block number to the number of sequences joined before it (ClipMe). Blocks before the first merge inside each
    frame (ImgMe); blocks after the last only merge inside the clip."""
    image_merge: int = 2
    """Patch tokens merged inside each frame in an ImgMe block: r."""
    cross_ratio: float = 0.30
    """Share of a joined sequence that is merged before attention."""
    intra_ratio: float = 0.10
    """Share of a joined sequence that is merged after attention."""


JOIN_FACTORS = ((2, 2, 3), (2, 2, 2))
"""How many neighbouring sequences are joined in each of three blocks; the first whose product divides T serves."""


def tempme_schedule(depth: int, num_frames: int) -> TempMeSchedule:
    """The paper's schedule scaled to `depth` blocks: ImgMe in the first two thirds, then three joins, then the rest.

    Raises ValueError when there are fewer than 5 blocks or `num_frames` cannot be joined.
    """
    if depth < 5:
        raise ValueError(f"TempMe needs at least 5 transformer blocks, not {depth}")
    factors = next((f for f in JOIN_FACTORS if num_frames % (f[0] * f[1] * f[2]) == 0), None)
    if factors is None:
        raise ValueError(f"TempMe cannot join {num_frames} frames: use a multiple of 12 or 8")
    first = min(depth * 2 // 3, depth - 4)  # at least one block after the joins, as in the paper
    return TempMeSchedule(joins={first + i: factor for i, factor in enumerate(factors)})


def tempme_position_shapes(depth: int, num_frames: int) -> dict[int, int]:
    """Block number to the number of sequences that come into its join: one temporal position each."""
    shapes = {}
    for block, factor in tempme_schedule(depth, num_frames).joins.items():
        shapes[block] = num_frames
        num_frames //= factor
    return shapes


def fit_position(position: Tensor, f: int) -> Tensor:
    """A temporal position (F, C) for `f` sequences, where clips have other frames than it was trained with: (f, C)."""
    if len(position) == f:
        return position
    return F.interpolate(position.T[None], size=f, mode="linear", align_corners=False)[0].T


def tempme_reduction(depth: int, num_frames: int, positions: Mapping[int, Tensor]) -> Reduction:
    """TempMe (sections 3.2 and 3.3): merge inside frames, then join neighbouring clips and merge across them.

    `positions`: block number to its temporal positions (F, C) for the F sequences that come in; none means zero.
    """
    schedule = tempme_schedule(depth, num_frames)
    first_join = min(schedule.joins)

    def before_block(i: int, tokens: Tokens) -> Tokens:
        if i not in schedule.joins:
            return tokens
        j = schedule.joins[i]
        joined = join(tokens, j)
        n, c = joined.x.shape[1], joined.num_cls
        k = min((n - c) // 2, int(n * schedule.cross_ratio))
        # The match is made on the residual stream before the position is added. The authors' code adds no position
        # when nothing is merged; kept, so that their adapters mean the same here.
        metric = joined.x.detach()
        if i in positions and k > 0:
            position = fit_position(positions[i], tokens.num_sequences)
            joined = replace(joined, x=add_position(joined, position))
        return merge(joined, metric, k)

    def before_mlp(i: int, tokens: Tokens, keys: Tensor) -> Tokens:
        if i < first_join:
            return merge(tokens, keys, min(schedule.image_merge, (tokens.x.shape[1] - tokens.num_cls) // 2))
        n, c = tokens.x.shape[1], tokens.num_cls
        return merge(tokens, keys, min((n - c) // 2, int(n * schedule.intra_ratio)))

    return Reduction(before_block, before_mlp, mean_of_unit_vectors)


def add_position(joined: Tokens, position: Tensor) -> Tensor:
    """The joined tokens (B * F, N, C) plus the `position` (F * j, C) of the sequence each of them came from."""
    f, n, c = joined.num_sequences, joined.x.shape[1], joined.num_cls
    position = position.to(joined.x.dtype).reshape(f, -1, position.shape[-1])  # (F, j, C)
    j = position.shape[1]
    by_token = torch.cat(
        [position.repeat_interleave(c // j, dim=1), position.repeat_interleave((n - c) // j, dim=1)], dim=1
    )  # (F, N, C)
    return (joined.x.reshape(-1, f, *joined.x.shape[1:]) + by_token).flatten(0, 1)


REDUCTIONS: dict[str, Callable[[int, int, Mapping[int, Tensor]], Reduction]] = {
    "mean": mean_reduction,
    "tempme": tempme_reduction,
}
"""Name of an encoder to what makes its reduction from (depth, num_frames, temporal positions)."""
