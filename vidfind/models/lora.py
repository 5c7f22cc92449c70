"""The additions of an adapter to a model: LoRA on the attention of both towers, and the embeddings of learned words.

Both are attached for training, and folded into the model for use. Knows nothing of files.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vidfind.errors import ModelUnavailable
from vidfind.models.adapter_file import PARAMETER, Adapter
from vidfind.text.padded import PaddedTokenizer
from vidfind.text.tokenizer import DIRECTIONS, LEARNED, ClipTokenizer, Learned
from vidfind.towers.clip import ClipTower
from vidfind.towers.families import image_tower
from vidfind.towers.text import WordEmbedding, text_tower
from vidfind.towers.timm import TimmTower
from vidfind.towers.whole import embedding_size

EMBEDDING = "token_embedding.weight"


PARTS = ("qkv", "q_proj", "k_proj", "v_proj")
"""What makes queries, keys and values in attention of timm: the first, or the others."""


class LoRA(nn.Module):
    """A low-rank term on a weight: W + B A (Hu et al., 2021; without a scaling factor, as TempMe trains it)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.a = nn.Parameter(weight.new_empty(rank, columns))  # (r, C)
        self.b = nn.Parameter(weight.new_zeros(rows, rank))  # (3 C, r)
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.b @ self.a


def attention_weights(model: Any) -> Iterator[tuple[str, nn.Module, str]]:
    """Yields the weights that make queries, keys and values in every block of both towers.

    Of each: its name in an adapter, the module that holds it, and its name there."""
    text = text_tower(model)  # first: an `ImageHalf` reads the whole model for it
    prefix = "" if text is model else "text."
    tower = image_tower(model)
    if isinstance(tower, TimmTower):
        for i, block in enumerate(tower.trunk.blocks):
            for part in PARTS:
                if (linear := getattr(block.attn, part, None)) is not None:
                    yield f"visual.trunk.blocks.{i}.attn.{part}", linear, "weight"
    elif isinstance(tower, ClipTower):
        for i, block in enumerate(tower.blocks):
            yield f"visual.transformer.resblocks.{i}.attn", block.attn, "in_proj_weight"
    for i, block in enumerate(getattr(text.transformer, "resblocks", ())):
        yield f"{prefix}transformer.resblocks.{i}.attn", block.attn, "in_proj_weight"


def attach_lora(model: Any, rank: int, text_only: bool = False) -> dict[str, nn.Parameter]:
    """Adds a new LoRA to the query-key-value projection of every block of both towers; returns its parameters by name.

    The output of the model does not change, because B starts at zero. With `text_only`, only the text tower gets one.
    """
    parameters: dict[str, nn.Parameter] = {}
    for name, module, weight in attention_weights(model):
        if text_only and name.startswith("visual."):
            continue
        lora = LoRA(getattr(module, weight), rank)
        parametrize.register_parametrization(module, weight, lora)
        parameters |= {f"{name}.lora_a": lora.a, f"{name}.lora_b": lora.b}
    return parameters


def attach_words(model: Any, rows: Tensor, directions: Tensor) -> dict[str, nn.Parameter]:
    """Adds rows (K, W) for learned words to the token embedding, with directions (K, D), in place of earlier ones.

    Returns both as parameters, by their names in an adapter."""
    text = text_tower(model)
    weight = text.token_embedding.weight
    embedding = WordEmbedding(weight, rows.to(weight), directions.to(weight))
    text.token_embedding = embedding
    return {LEARNED: embedding.rows, DIRECTIONS: embedding.directions}


def directions_of(model: Any, adapter: Adapter) -> Tensor:
    """Returns the directions (K, D) of the words of an adapter; zeros for one of an earlier version, which has none."""
    rows = len(adapter.tensors[LEARNED])
    found: Tensor = adapter.tensors.get(DIRECTIONS, torch.zeros(rows, embedding_size(model.visual)))
    return found


def with_words(tokenizer: PaddedTokenizer, learned: Learned) -> PaddedTokenizer:
    """Returns a tokenizer that also knows the learned words, if there are any.

    Raises ModelUnavailable where it is not that of CLIP: no other can be taught."""
    if not learned:
        return tokenizer
    own = tokenizer.tokenizer
    if not isinstance(own, ClipTokenizer):
        raise ModelUnavailable("The adapter has learned words, which only the tokenizer of CLIP can read.")
    return PaddedTokenizer(lambda: replace(own, learned=learned))


def fold_adapter(model: Any, adapter: Adapter) -> None:
    """Folds the adapter into the weights of the model, in place; at inference it costs nothing.

    Whole weights, which full fine-tuning saves under the model's own names, replace those of the model; B A of a LoRA
    is added. Tensors of the encoder are not used: see `Adapter.parameters`. Raises ModelUnavailable, before it changes
    anything, if a tensor does not fit the model.
    """
    weights = dict(model.named_parameters())
    attention = {name: getattr(module, weight) for name, module, weight in attention_weights(model)}
    shapes: dict[str, Sequence[int]] = {name: weight.shape for name, weight in weights.items()}
    shapes |= {_target(block): weight.shape for block, weight in attention.items()}
    _require_fit(adapter, shapes, image_tower(model).width, embedding_size(model.visual))
    if LEARNED in adapter.tensors:
        attach_words(model, adapter.tensors[LEARNED], directions_of(model, adapter))
    with torch.no_grad():
        for name, tensor in adapter.tensors.items():
            if name in weights:
                weights[name].copy_(tensor)
        for block, weight in attention.items():
            if f"{block}.lora_a" in adapter.tensors:
                weight.add_(_product(adapter, block, weight))


def fold_image_half(half: Any, adapter: Adapter, shapes: Mapping[str, Sequence[int]]) -> None:
    """Folds what an adapter changes of the image tower into an `ImageHalf`; weights in a mapped file stay as they are.

    `shapes` are those of all weights of the model, by name. Raises ModelUnavailable if a tensor does not fit it."""
    _require_fit(adapter, shapes, image_tower(half).width, embedding_size(half.visual))
    blocks = [name.removesuffix(".lora_a") for name in adapter.tensors if name.endswith(".lora_a")]
    targets = {_target(block): block for block in blocks}
    for own_name, weight in half.visual.named_parameters():
        name = f"visual.{own_name}"
        if name in adapter.tensors:
            weight.data = adapter.tensors[name].to(weight)
        elif name in targets:
            weight.data = weight.data + _product(adapter, targets[name], weight)


def _target(block: str) -> str:
    """The name of the weight that the LoRA of this name is added to; empty if that is none of attention."""
    if block.endswith(".attn"):
        return f"{block}.in_proj_weight"
    return f"{block}.weight" if block.endswith(tuple(f".attn.{part}" for part in PARTS)) else ""


def _product(adapter: Adapter, block: str, weight: Tensor) -> Tensor:
    a, b = (adapter.tensors[f"{block}.lora_{x}"].to(weight) for x in "ab")
    return b @ a


def _require_fit(adapter: Adapter, shapes: Mapping[str, Sequence[int]], width: int, dim: int) -> None:
    """Raises ModelUnavailable if a tensor of an adapter does not fit weights of these shapes.

    `width` is that of the image tower, `dim` the size of an embedding."""
    words = tuple(next((shapes[name] for name in (EMBEDDING, f"text.{EMBEDDING}") if name in shapes), ()))[1:]
    for name, tensor in adapter.tensors.items():
        block, _, kind = name.rpartition(".")
        if kind in ("lora_a", "lora_b"):
            rows, columns = shapes.get(_target(block), (0, 0))
            fits = tensor.shape[1] == columns if kind == "lora_a" else tensor.shape[0] == rows
        elif PARAMETER.fullmatch(name):
            expected = (width, *words) if kind == "word_projection" else (len(tensor), width)
            fits = tensor.shape == expected
        elif name == LEARNED:
            fits = tensor.shape[1:] == words
        elif name == DIRECTIONS:
            fits = tensor.shape[1:] == (dim,)
        else:
            fits = name in shapes and tuple(tensor.shape) == tuple(shapes[name])
        if not fits:
            called = f" {adapter.info.name!r}" if adapter.info else ""
            raise ModelUnavailable(
                f"The adapter{called} does not fit the model: {name} {tuple(tensor.shape)} has no place in it."
            )
