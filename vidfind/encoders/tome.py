"""ToMe: merges similar tokens inside each frame, in every block.

Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023. Letters as in towers/tokens.py.
"""

from torch import Tensor

from vidfind.encoders.backbone import Backbone, keep_before_block, mean_of_unit_vectors
from vidfind.towers.loop import Reduction
from vidfind.towers.tokens import Tokens, merge

MERGED_SHARE = 24 / 49
"""Share of the patches of a frame merged over all blocks: r = 2 with the 12 blocks and 49 patches of ViT-B/32."""


def tome_reduction(backbone: Backbone) -> Reduction:
    """Returns the reduction. Frames stay apart: it saves work, and sees no more of time than plain CLIP."""
    r = max(1, round(backbone.tower.num_patches * MERGED_SHARE / backbone.tower.depth))

    def before_mlp(i: int, tokens: Tokens, keys: Tensor) -> Tokens:
        return merge(tokens, keys, min(r, (tokens.x.shape[1] - tokens.num_cls) // 2))

    return Reduction(keep_before_block, before_mlp, mean_of_unit_vectors)
