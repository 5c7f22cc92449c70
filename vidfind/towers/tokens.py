"""The state of tokens between two steps of a tower, and how tokens are merged and sequences joined.

Pure functions on tensors. A clip of T frames starts as T sequences of tokens, in most towers with a class token each.

Merging follows ToMe: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023.
Letters: B clips, T frames a clip, F sequences a clip is split into at this depth, N tokens a sequence, c class tokens
among them (always first), C width, D embedding size; f frames that are told apart in a sequence, 1 where none are.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch of clips between two steps of a transformer."""

    x: Tensor  # (B * F, N, C)
    share: Tensor | None  # (B * F, N, f): how many tokens of each frame each represents; None while each is one
    num_cls: int  # c
    num_sequences: int  # F
    place: Tensor | None = None  # (B * F, N - c): the patch of a frame that each is rotated as; None without rotation

    @property
    def size(self) -> Tensor | None:
        """How many original tokens each represents, of all frames (B * F, N, 1); None while each is one."""
        if self.share is None or self.share.shape[-1] == 1:
            return self.share
        return self.share.sum(dim=-1, keepdim=True)


def merge(tokens: Tokens, metric: Tensor, k: int) -> Tokens:
    """Merges `k` patch tokens of each sequence into their most similar ones; class tokens stay unchanged.

    Bipartite matching (ToMe, section 3): patch tokens alternate between sets A and B; each token of A is matched with
    the token of B that has the highest cosine in `metric` (B * F, N, any width); the k best-matched tokens of A are
    averaged into their partners, weighted by size, and those keep their place. Returns class tokens, unmerged A in
    order, all B. No gradient flows through the matching.
    """
    if k <= 0:
        return tokens
    c, (sequences, n, width) = tokens.num_cls, tokens.x.shape
    # Counted from the first class token on, A are the even positions and B the odd ones.
    a_start = c + c % 2
    b_start = c + (c + 1) % 2
    with torch.no_grad():
        metric = F.normalize(metric, dim=-1)
        similarity = metric[:, a_start::2] @ metric[:, b_start::2].transpose(1, 2)  # (B * F, |A|, |B|)
        best, partner = similarity.max(dim=-1)
        order = best.argsort(dim=-1, descending=True, stable=True)
        # Rows of all tokens of the batch below each other: whole rows are copied several times as fast as by `gather`.
        first = torch.arange(sequences, device=best.device)[:, None]
        merged = (first * n + a_start + 2 * order[:, :k]).flatten()
        others = torch.cat([a_start + 2 * order[:, k:].sort(dim=1).values, _places(best, b_start, n)], dim=1)
        kept = (first * n + torch.cat([_places(best, 0, c, 1), others], dim=1)).flatten()
        into = (first * (n - k) + n - k - similarity.shape[2] + partner.gather(1, order[:, :k])).flatten()

    def sum_merged(rows: Tensor, weights: Tensor | None) -> Tensor:
        """(B * F * N, W) -> (B * F * (N - k), W), each row multiplied by its weight first."""
        kept_rows, merged_rows = rows.index_select(0, kept), rows.index_select(0, merged)
        if weights is not None:
            kept_rows.mul_(weights.index_select(0, kept))
            merged_rows.mul_(weights.index_select(0, merged))
        return kept_rows.index_add_(0, into, merged_rows)

    share, size = full_share(tokens), tokens.size
    merged_share = sum_merged(share.flatten(0, 1), None)
    x = sum_merged(tokens.x.reshape(-1, width), None if size is None else size.reshape(-1, 1))
    x.div_(merged_share.sum(dim=-1, keepdim=True))
    place = None if tokens.place is None else tokens.place.gather(1, others - c)
    share = merged_share.view(sequences, n - k, -1)
    return replace(tokens, x=x.view(sequences, n - k, width), share=share, place=place)


def full_share(tokens: Tokens) -> Tensor:
    """Returns the share of tokens (B * F, N, f), ones where it is None."""
    return torch.ones_like(tokens.x[..., :1]) if tokens.share is None else tokens.share


def _places(like: Tensor, start: int, end: int, step: int = 2) -> Tensor:
    """range(start, end, step) for each sequence, (B * F, length)."""
    return torch.arange(start, end, step, device=like.device).expand(len(like), -1)


def join(tokens: Tokens, j: int, apart: bool = False) -> Tokens:
    """Joins `j` consecutive sequences of each clip: all their class tokens first, then all patches, in frame order.

    `apart`: goes on telling the frames apart, see `key_bias`."""
    share = tokens.share
    if apart:
        share = full_share(tokens)
        own = torch.eye(j, dtype=share.dtype, device=share.device).repeat(len(share) // j, 1)  # (B * F, j)
        share = (own[:, None, :, None] * share[:, :, None, :]).flatten(2)  # (B * F, N, j * f)

    def join_tensor(x: Tensor) -> Tensor:
        sequences, n, width = x.shape
        x = x.reshape(sequences // j, j, n, width)
        cls, patches = x[:, :, : tokens.num_cls], x[:, :, tokens.num_cls :]
        return torch.cat([cls.flatten(1, 2), patches.flatten(1, 2)], dim=1)

    return Tokens(
        x=join_tensor(tokens.x),
        share=None if share is None else join_tensor(share),
        num_cls=tokens.num_cls * j,
        num_sequences=tokens.num_sequences // j,
        place=None if tokens.place is None else tokens.place.reshape(len(tokens.place) // j, -1),
    )


def key_bias(tokens: Tokens) -> Tensor | None:
    """Returns the bias of the logits of attention, (B * F, 1, 1 or N queries, N keys); None while each token is one.

    A key that represents several tokens counts as many times (ToMe, section 3). Where frames are told apart, a class
    token sees itself, and of each other key the part that is of its own frame; patches see everything."""
    size, share = tokens.size, tokens.share
    if size is None or share is None:
        return None
    of_all = size.log().transpose(1, 2)  # (B * F, 1, N)
    n, frames = tokens.x.shape[1], share.shape[-1]
    if frames == 1 or not tokens.num_cls:
        return of_all[:, None]
    own = share.log().transpose(1, 2).repeat_interleave(tokens.num_cls // frames, dim=1)  # (B * F, c, N)
    return torch.cat([own, of_all.expand(-1, n - tokens.num_cls, -1)], dim=1)[:, None]


def even_parts(count: int, parts: int) -> list[tuple[int, int]]:
    """Splits range(count) into `parts` parts; returns (start, end) of each. Lengths differ by at most one."""
    return [(i * count // parts, (i + 1) * count // parts) for i in range(parts)]
