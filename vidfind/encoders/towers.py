"""The forward passes of CLIP's two towers with open_clip's weights: one transformer loop that calls a `Reduction`.

Knows nothing of encoders by name, of files, or of where weights come from.
Letters as in tokens.py: B clips, T frames a clip, S pixels, N tokens, C width, D embedding size; W width of the text
tower.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidfind.commands import models_command
from vidfind.encoders.tokens import Reduction, Tokens, even_parts
from vidfind.errors import UnsupportedModel
from vidfind.precision.blocks import Int8Block, can_quantise
from vidfind.precision.integers import Product

Embedding = Callable[[Tensor], Tensor]
"""Patches (M, P * P * 3) uint8 -> their embeddings (M, C), before positions are added."""


def embed_patches(visual: Any, frames: Tensor, mean: Tensor, std: Tensor, embedding: Embedding | None = None) -> Tensor:
    """Frames (B * T, S, S, 3) uint8 -> (B * T, N, C), the tokens of the first block: a class token, then the patches.

    `embedding`: made of this `visual`, `mean` and `std` before; None makes one, which takes as long as half a clip."""
    size, dtype = visual.conv1.weight.shape[-1], visual.conv1.weight.dtype
    grid, count = frames.shape[1] // size, len(frames)
    frames = frames[:, : grid * size, : grid * size]
    patches = frames.reshape(-1, grid, size, grid, size, 3).transpose(2, 3).reshape(count * grid**2, -1)
    embedded = (embedding or patch_embedding(visual, mean, std))(patches).view(count, grid**2, -1)
    cls = visual.class_embedding.to(dtype).expand(count, 1, -1)
    x: Tensor = visual.ln_pre(torch.cat([cls, embedded], dim=1) + visual.positional_embedding.to(dtype))
    return x


def patch_embedding(visual: Any, mean: Tensor, std: Tensor) -> Embedding:
    """The product that embeds patches, in the number format of the tower."""
    dtype = visual.conv1.weight.dtype
    weight, grey = (tensor.to(dtype) for tensor in patch_weights(visual, mean, std))
    return lambda patches: F.linear(patches.to(dtype) - 128, weight, grey)


def patch_weights(visual: Any, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (C, P * P * 3) and bias (C,) of the embedding of patches, for pixels from -128 to 127, in float32.

    The normalisation of pixels is folded in: for each pixel it would take as long as two blocks. bfloat16 represents
    -128..127 exactly, and they are about as small as normalised values."""
    by_channel = visual.conv1.weight.permute(0, 2, 3, 1).float() / std  # (C, P, P, 3)
    return (by_channel / 255).flatten(1), (by_channel * (128 / 255 - mean)).sum((1, 2, 3))


@dataclass(frozen=True)
class Int8Tower:
    """The parts of an image tower that are products, in 8-bit integers; the others are the tower's own."""

    embedding: Embedding
    blocks: Sequence[Any]
    """Each an `Int8Block`, or one of the tower's own."""


def has_int8_tower(model: Any) -> bool:
    """Whether `quantise_tower` knows how to run the image tower of a model."""
    return all(map(can_quantise, model.visual.transformer.resblocks))


@torch.no_grad()
def quantise_tower(visual: Any, mean: Tensor, std: Tensor, largest: int, is_careful: bool = False) -> Int8Tower:
    """The tower in 8-bit integers, with weights up to `largest`. If `is_careful`, the first and last block are not."""
    blocks = list(visual.transformer.resblocks)
    own = {0, len(blocks) - 1} if is_careful else set()
    quantised = [block if i in own else Int8Block(block, largest) for i, block in enumerate(blocks)]
    product = Product(*patch_weights(visual, mean, std), largest)
    return Int8Tower(lambda patches: product(patches, 1.0), quantised)


def encode_frames(
    visual: Any,
    x: Tensor,
    reduction: Reduction,
    num_frames: int,
    checkpointing: bool = False,
    blocks: Sequence[Any] | None = None,
) -> Tensor:
    """Embedded tokens (B * T, N, C) of T-frame clips -> (B, M, C): the remaining class tokens after the last norm.

    `blocks`: those of an `Int8Tower`, in place of the tower's own; they change x."""
    all_blocks = visual.transformer.resblocks if blocks is None else blocks

    def run_block(i: int, tokens: Tokens) -> Tokens:
        block = all_blocks[i]
        tokens = reduction.before_block(i, tokens)
        tokens, keys = add_attention(block, tokens)
        return add_mlp(block, reduction.before_mlp(i, tokens, keys))

    tokens = Tokens(x, size=None, num_cls=1, num_sequences=num_frames)
    for i in range(len(all_blocks)):
        tokens = checkpoint(run_block, i, tokens, use_reentrant=False) if checkpointing else run_block(i, tokens)
    cls = tokens.x[:, : tokens.num_cls]
    normed: Tensor = visual.ln_post(cls.reshape(len(x) // num_frames, -1, cls.shape[-1]))  # in frame order
    return normed


def add_attention(block: Any, tokens: Tokens) -> tuple[Tokens, Tensor]:
    """The tokens with the output of attention added, and the keys, as `attend` returns them."""
    if isinstance(block, Int8Block):
        x, keys = block.attend(tokens.x, tokens.size)
    else:
        attended, keys = attend(block, tokens)
        x = tokens.x + attended
    return replace(tokens, x=x), keys


def add_mlp(block: Any, tokens: Tokens) -> Tokens:
    """The tokens with the output of the MLP added."""
    if isinstance(block, Int8Block):
        return replace(tokens, x=block.add_mlp(tokens.x))
    return replace(tokens, x=tokens.x + block.ls_2(block.mlp(block.ln_2(tokens.x))))


class WordEmbedding(nn.Module):
    """The token embedding of a text tower with rows (K, W) for learned words, which have the ids -K to -1."""

    def __init__(self, weight: nn.Parameter, rows: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.rows = nn.Parameter(rows)

    def forward(self, ids: Tensor) -> Tensor:
        known = F.embedding(ids.clamp(min=0), self.weight)
        return torch.where((ids < 0)[..., None], self.rows[ids.clamp(max=-1)], known)


def embedding_table(model: Any) -> Tensor:
    """Returns the embeddings of all tokens (V, W); those of learned words come last, where their ids find them."""
    embedding = model.token_embedding
    if isinstance(embedding, WordEmbedding):
        return torch.cat([embedding.weight, embedding.rows]).detach()
    table: Tensor = embedding.weight.detach()
    return table


def encode_tokens(model: Any, ids: Tensor) -> Tensor:
    """Token ids (N, length) -> (N, D). Ids after the last end of text are cut off, because they have no influence."""
    end = ids.argmax(dim=-1)  # the end of text has the highest id
    return read_embedded(model, model.token_embedding(ids[:, : int(end.max()) + 1]), end)


def read_words(model: Any, words: Tensor) -> Tensor:
    """Reads vectors (N, n, W), in place of token embeddings, as the words of a sentence -> (N, D).

    The result is read at the end of text right after the last word. If there are more words than the tower has
    positions, neighbours are averaged.
    """
    places = model.positional_embedding.shape[0] - 2
    if words.shape[1] > places:
        words = torch.stack([words[:, a:b].mean(dim=1) for a, b in even_parts(words.shape[1], places)], dim=1)
    start, end = model.token_embedding.weight[-2:].to(words.dtype)[:, None, None]  # CLIP's last two tokens
    n = len(words)
    x = torch.cat([start.expand(n, 1, -1), words, end.expand(n, 1, -1)], dim=1)
    return read_embedded(model, x, torch.full((n,), x.shape[1] - 1, device=x.device))


def read_embedded(model: Any, x: Tensor, end: Tensor) -> Tensor:
    """Token embeddings (N, length, W) without positions -> (N, D), read at the position `end` (N,)."""
    x = x + model.positional_embedding[: x.shape[1]].to(x.dtype)
    tokens = Tokens(x, size=None, num_cls=0, num_sequences=1)
    for block in model.transformer.resblocks:
        attended, _ = attend(block, tokens, is_causal=True)
        tokens = add_mlp(block, replace(tokens, x=tokens.x + attended))
    pooled = model.ln_final(tokens.x[torch.arange(len(end), device=end.device), end])
    features: Tensor = pooled @ model.text_projection
    return features


def attend(block: Any, tokens: Tokens, is_causal: bool = False) -> tuple[Tensor, Tensor]:
    """Proportional attention of one block: its output (S, N, C), and its keys averaged over heads (S, N, C / heads).

    Reads the weights by name, which survives open_clip's changes of the attention class. A key that represents `size`
    tokens counts as many times: log(size) is added to its logits (ToMe, section 3).
    """
    attn = block.attn
    sequences, n, width = tokens.x.shape
    qkv = F.linear(block.ln_1(tokens.x), attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = qkv.reshape(sequences, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (S, heads, N, C / heads)
    bias = None if tokens.size is None else tokens.size.log().view(sequences, 1, 1, n)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=is_causal)
    out = F.linear(out.transpose(1, 2).reshape(sequences, n, width), attn.out_proj.weight, attn.out_proj.bias)
    return block.ls_1(out), k.mean(dim=1)


def check_image_tower(model: Any, name: str) -> None:
    """Raises UnsupportedModel unless the image tower is a vision transformer that the loop above can run."""
    visual = model.visual
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    reason = None
    if not isinstance(getattr(visual, "conv1", None), nn.Conv2d) or blocks is None:
        reason = f"its image tower is a {type(visual).__name__}"
    elif visual.attn_pool is not None or visual.pool_type != "tok":
        reason = "its image tower does not end in a class token"
    elif not all(isinstance(getattr(b, "attn", None), nn.MultiheadAttention) and hasattr(b, "ls_1") for b in blocks):
        reason = "its transformer blocks are of another kind"
    elif visual.image_size[0] != visual.image_size[1]:
        reason = "its pictures are not square"
    if reason:
        raise unsupported_tower(name, reason)


def check_tower_config(config: Mapping[str, Any], name: str) -> None:
    """Like `check_image_tower`, from open_clip's configuration alone, before the weights are downloaded."""
    vision = config["vision_cfg"]
    if "timm_model_name" in vision or not isinstance(vision.get("layers"), int):
        raise unsupported_tower(name, f"its image tower is of another kind, {vision.get('timm_model_name', 'ResNet')}")
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        raise unsupported_tower(name, "its image tower does not end in a class token")


def unsupported_tower(name: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{name} cannot be used: {reason}, and vidfind needs a plain vision transformer. "
        f"`{models_command()}` lists models that work."
    )


def has_plain_text_tower(model: Any) -> bool:
    """Whether the text tower is that of CLIP: causal, read at the end of text. Others run through open_clip's code."""
    return (
        hasattr(model, "token_embedding")
        and model.attn_mask is not None
        and model.text_pool_type == "argmax"
        and isinstance(model.text_projection, Tensor)
        and all(isinstance(block.attn, nn.MultiheadAttention) for block in model.transformer.resblocks)
    )
