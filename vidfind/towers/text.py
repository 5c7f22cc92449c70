"""Text towers with open_clip's weights: CLIP's own, run by vidfind, and the words that were learned.

Knows nothing of files. Letters: N texts, W the width of the text tower, D the size of an embedding, K tokens of
learned words.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.towers.clip import attend, mlp
from vidfind.towers.tokens import even_parts


def text_tower(model: Any) -> Any:
    """Returns the part of a model that holds its text tower: where open_clip keeps the towers apart, not the model."""
    return getattr(model, "text", model)


class WordEmbedding(nn.Module):
    """The token embedding of a text tower with rows (K, W) for learned words, which have the ids -K to -1.

    A text that has one of these tokens also gets its direction (K, D) added to its vector: see `lean`."""

    def __init__(self, weight: nn.Parameter, rows: Tensor, directions: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.rows = nn.Parameter(rows)
        self.directions = nn.Parameter(directions)

    def forward(self, ids: Tensor) -> Tensor:
        known = F.embedding(ids.clamp(min=0), self.weight)
        return torch.where((ids < 0)[..., None], self.rows[ids.clamp(max=-1)], known)


def embedding_table(model: Any) -> Tensor:
    """Returns the embeddings of all tokens (V, W); those of learned words come last, where their ids find them."""
    embedding = text_tower(model).token_embedding
    if isinstance(embedding, WordEmbedding):
        return torch.cat([embedding.weight, embedding.rows]).detach()
    table: Tensor = embedding.weight.detach()
    return table


def lean(model: Any, features: Tensor, ids: Tensor) -> Tensor:
    """Features (N, D) of texts with token ids (N, length) -> (N, D), with the directions of the learned words in each.

    A direction is added to a vector of unit length, once for each word."""
    embedding = text_tower(model).token_embedding
    if not isinstance(embedding, WordEmbedding):
        return features
    present = tokens_present(ids, len(embedding.rows)).to(features.dtype)
    moved = F.normalize(features, dim=-1) + present @ embedding.directions.to(features.dtype)
    return torch.where(present.any(dim=-1, keepdim=True), moved, features)


def tokens_present(ids: Tensor, count: int) -> Tensor:
    """Token ids (N, length) -> (N, K) bool: which of `count` tokens of learned words each text has."""
    return (ids[..., None] == torch.arange(-count, 0, device=ids.device)).any(dim=1)


def encode_tokens(model: Any, ids: Tensor) -> Tensor:
    """Token ids (N, length) -> (N, D). Ids after the last end of text are cut off, because they have no influence."""
    end = ids.argmax(dim=-1)  # the end of text has the highest id
    return read_embedded(model, text_tower(model).token_embedding(ids[:, : int(end.max()) + 1]), end)


def read_words(model: Any, words: Tensor) -> Tensor:
    """Reads vectors (N, n, W), in place of token embeddings, as the words of a sentence -> (N, D).

    The result is read at the end of text right after the last word. If there are more words than the tower has
    positions, neighbours are averaged.
    """
    text = text_tower(model)
    places = text.positional_embedding.shape[0] - 2
    if words.shape[1] > places:
        words = torch.stack([words[:, a:b].mean(dim=1) for a, b in even_parts(words.shape[1], places)], dim=1)
    start, end = text.token_embedding.weight[-2:].to(words.dtype)[:, None, None]  # CLIP's last two tokens
    n = len(words)
    x = torch.cat([start.expand(n, 1, -1), words, end.expand(n, 1, -1)], dim=1)
    return read_embedded(model, x, torch.full((n,), x.shape[1] - 1, device=x.device))


def read_embedded(model: Any, x: Tensor, end: Tensor) -> Tensor:
    """Token embeddings (N, length, W) without positions -> (N, D), read at the position `end` (N,)."""
    text = text_tower(model)
    x = x + text.positional_embedding[: x.shape[1]].to(x.dtype)
    for block in text.transformer.resblocks:
        x = x + attend(block, x, is_causal=True)[0]
        x = x + mlp(block, x)
    pooled = text.ln_final(x[torch.arange(len(end), device=end.device), end])
    features: Tensor = pooled @ text.text_projection
    return features


def has_plain_text_tower(model: Any) -> bool:
    """Whether the text tower is that of CLIP: causal, read at the end of text. Others run through open_clip's code."""
    text = text_tower(model)
    return (
        has_text_transformer(model)
        and text.attn_mask is not None
        and getattr(text, "cls_emb", None) is None
        and getattr(text, "text_pool_type", getattr(text, "pool_type", "")) == "argmax"
        and isinstance(text.text_projection, Tensor)
    )


def has_text_transformer(model: Any) -> bool:
    """Whether the text tower is open_clip's own transformer, not one of the library transformers."""
    text = text_tower(model)
    return hasattr(text, "token_embedding") and all(
        isinstance(block.attn, nn.MultiheadAttention) for block in text.transformer.resblocks
    )
