"""CenterCLIP: half-way through the blocks, keeps only the centre tokens of clusters from each run of frames.

Zhao et al., "CenterCLIP: Token Clustering for Efficient Text-Video Retrieval", SIGIR 2022. Departures: the clustering
has exact rules (clusters.py); runs of frames may differ in length by one; there is no mask, because a clip always has T
frames. Letters as in towers/tokens.py; S runs of frames (the paper's segments), P patches a frame, K kept tokens.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vidfind.encoders.backbone import Backbone, keep_before_mlp, mean_of_unit_vectors
from vidfind.encoders.clusters import Clusters, medoid_tokens, spectral_medoids
from vidfind.towers.loop import Reduction
from vidfind.towers.tokens import Tokens, even_parts

SEGMENTS = 4
"""S for 12 frames: the paper's choice for short clips."""


def kept_tokens(num_patches: int) -> int:
    """Returns K, as in the paper: 49 of 49 patches (ViT-B/32), 160 of 196 (ViT-B/16); else in proportion."""
    return max(min(num_patches, 49), round(num_patches * 160 / 196))


def centerclip_reduction(
    backbone: Backbone, find_medoids: Callable[[Tensor, int], Clusters] = medoid_tokens, segments: int = SEGMENTS
) -> Reduction:
    """After half of the blocks the clip becomes S sequences, each of its mean class tokens and K patch tokens."""
    bounds = even_parts(backbone.num_frames, min(segments, backbone.num_frames))
    longest = max(end - start for start, end in bounds)
    shortest = min(end - start for start, end in bounds)
    num_patches = backbone.tower.num_patches
    kept = min(kept_tokens(num_patches), shortest * num_patches)

    def find(patches: Tensor) -> Tensor:
        """Patches (B, T, P, C) -> which of the T * P patches of a clip are kept, (B, S, K)."""
        found: dict[int, Tensor] = {}
        for length in range(shortest, longest + 1):  # runs of the same length are clustered together
            own = [number for number, (start, end) in enumerate(bounds) if end - start == length]
            runs = torch.stack([patches[:, slice(*bounds[number])] for number in own], dim=1)  # (B, s, f, P, C)
            medoids = find_medoids(runs.flatten(0, 1).flatten(1, 2), kept).medoids  # (B * s, K)
            found |= {number: medoids[i :: len(own)] + bounds[number][0] * num_patches for i, number in enumerate(own)}
        return torch.stack([found[number] for number in range(len(bounds))], dim=1)

    def before_block(i: int, tokens: Tokens) -> Tokens:
        if i != backbone.tower.depth // 2:
            return tokens
        c, x = tokens.num_cls, tokens.x.unflatten(0, (-1, backbone.num_frames))  # (B, T, c + P, C)
        cls, patches = x[:, :, :c], x[:, :, c:]
        medoids = find(patches.detach())

        def keep(values: Tensor) -> Tensor:
            """(B, T * P, any width) -> those of the patches that are kept, (B * S, K, width)."""
            chosen = values.gather(1, medoids.flatten(1)[..., None].expand(-1, -1, values.shape[-1]))
            return chosen.reshape(-1, kept, values.shape[-1])

        means = torch.stack([cls[:, start:end].mean(dim=1) for start, end in bounds], dim=1)  # (B, S, c, C)
        place = None if tokens.place is None else keep(tokens.place.reshape(len(x), -1, 1))[..., 0]
        x = torch.cat([means.flatten(0, 1), keep(patches.flatten(1, 2))], dim=1)  # (B * S, c + K, C)
        return Tokens(x, share=None, num_cls=c, num_sequences=len(bounds), place=place)

    return Reduction(before_block, keep_before_mlp, mean_of_unit_vectors)


def centerclip_spectral_reduction(backbone: Backbone) -> Reduction:
    """Returns the same reduction with spectral clustering of the nearest-neighbour graph."""
    frames = -(-backbone.num_frames // SEGMENTS)  # of the longest segment
    neighbours = 5 * frames if backbone.tower.num_patches < 100 else 5 * frames + 5  # the authors' choice
    return centerclip_reduction(backbone, partial(spectral_medoids, neighbours=neighbours))
