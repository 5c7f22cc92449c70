"""TFVL-style: frozen CLIP towers see a clip as one picture (ImageTemp) and read its frames as a sentence (TextTemp).

After the abstract of "TFVL" (IEEE TNNLS 2025, doi 10.1109/tnnls.2025.3605657), of which no code is public; where the
abstract is silent, the choice is ours. Training changes only prompts and one projection, 0.35 % of CLIP. Letters as in
towers/tokens.py; W is the width of the text tower.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.encoders.backbone import Backbone, mean_of_unit_vectors
from vidfind.towers.clip import ClipTower
from vidfind.towers.loop import Reduction
from vidfind.towers.text import has_plain_text_tower, read_words, text_tower
from vidfind.towers.tokens import Tokens, join

PROJECTION = "visual.word_projection"
PROMPT_STD = 0.02


@dataclass(frozen=True)
class Settings:
    """The settings that the abstract leaves open."""

    prompts: int = 4
    """The number of learned tokens in each block beside those of the frames; every block has its own."""
    joint_share: float = 1 / 3
    """Share of the blocks, at the end, in which all frames attend to one another. Earlier blocks have learned to attend
    to 50 tokens; with 600 their attention would be too thin."""
    sentence_weight: float = 1.0
    """Weight of the sentence's vector, where the mean of the frames' vectors has weight 1: alpha."""


DEFAULTS = Settings()


def prompts_name(block: int) -> str:
    return f"visual.transformer.resblocks.{block}.prompts"


def tfvl_parameters(backbone: Backbone, settings: Settings = DEFAULTS) -> dict[str, Tensor]:
    """Random initial values: prompts (prompts, C) of each block, and a projection (C, W) of frames to words."""
    width = backbone.tower.width
    word_width = text_tower(backbone.model).token_embedding.weight.shape[1]
    parameters = {PROJECTION: torch.randn(width, word_width) * width**-0.5}
    if settings.prompts:
        parameters |= {
            prompts_name(i): torch.randn(settings.prompts, width) * PROMPT_STD for i in range(backbone.tower.depth)
        }
    return parameters


def tfvl_reduction(backbone: Backbone, settings: Settings = DEFAULTS) -> Reduction:
    """Returns the reduction. Raises ValueError if one of the towers is not that of CLIP."""
    if not isinstance(backbone.tower, ClipTower):
        raise ValueError("its image tower is not CLIP's own")
    if not has_plain_text_tower(backbone.model):
        raise ValueError("its text tower is not CLIP's own")
    parameters, count = backbone.parameters, settings.prompts
    first_joint = backbone.tower.depth - round(backbone.tower.depth * settings.joint_share)
    scale = word_scale(backbone)

    def before_block(i: int, tokens: Tokens) -> Tokens:
        if i == first_joint:
            tokens = join(tokens, backbone.num_frames)
        if not count:
            return tokens
        prompts = parameters[prompts_name(i)].to(tokens.x.dtype).expand(len(tokens.x), -1, -1)
        return Tokens(torch.cat([tokens.x, prompts], dim=1), None, tokens.num_cls, tokens.num_sequences)

    def before_mlp(i: int, tokens: Tokens, keys: Tensor) -> Tokens:
        # The next block has its own prompts, and an MLP looks at one token at a time: these are no longer needed.
        x = tokens.x[:, : tokens.x.shape[1] - count]
        return Tokens(x, None, tokens.num_cls, tokens.num_sequences)

    def pool(cls: Tensor, projected: Tensor) -> Tensor:
        mean = mean_of_unit_vectors(cls, projected)
        if not settings.sentence_weight:
            return mean
        words = scale * (cls @ parameters[PROJECTION].to(cls.dtype))  # (B, T, W)
        return mean + settings.sentence_weight * F.normalize(read_words(backbone.model, words), dim=-1)

    return Reduction(before_block, before_mlp, pool)


def word_scale(backbone: Backbone) -> float:
    """Returns the factor that makes projected frames as large as words.

    It compares the root mean squares of the token table and of normed class tokens. Rows of zeros, of words that the
    model never met, do not count.
    """
    words = text_tower(backbone.model).token_embedding.weight.detach()
    table = torch.linalg.vector_norm(words, dim=1, dtype=torch.float32)
    norm = backbone.model.visual.ln_post
    of_frames = (norm.weight.detach().float() ** 2 + norm.bias.detach().float() ** 2).mean().sqrt()
    of_words = (table[table > 0] ** 2).mean().sqrt() / words.shape[1] ** 0.5
    return float(of_words / of_frames)
