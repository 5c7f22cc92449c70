"""Turns words into a vector without PyTorch: the text half of a CLIP in numpy, read from its file of weights.

Only for the text tower of CLIP itself, in a safetensors file with open_clip's names. For every other model
`read_text_tower` returns None, and encoders/encoder.py does it with PyTorch. Knows nothing of indexes, or of where
weights come from. Letters: N tokens, C width, D embedding size.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vidfind.system.machine import in_threads
from vidfind.text.tokenizer import LEARNED, NO_WORDS, VOCABULARY_SIZE, Learned, open_clip_folder, tokenize, tokenize_all

Array = npt.NDArray[Any]
Vector = npt.NDArray[np.float32]
R = TypeVar("R")
Heads = Sequence[tuple[Vector, Vector]]
"""The keys and values of tokens in one block, each (heads, N, C / heads), by lane."""
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
PLAIN_CONFIG = frozenset({"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale", "init_logit_bias"})
PLAIN_TEXT_CONFIG = frozenset(
    {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "ls_init_value"}
)
"""The settings that a model with CLIP's own text tower may have; any other setting changes the tower."""
NORM_EPSILON = 1e-5
EMBEDDING = "token_embedding.weight"
LANES = min(2, os.cpu_count() or 1)
WIDE = 512
"""In narrower towers, handing work to another thread takes longer than the work."""


# The text tower


@dataclass(frozen=True)
class TextTower:
    """A causal transformer over the tokens of one text; `tensors` by open_clip's names."""

    tensors: Mapping[str, Array]
    layers: int
    heads: int
    context_length: int
    quick_gelu: bool
    learned: Learned = field(default_factory=dict)
    """The words that an adapter has taught, whose embeddings are in the tensor LEARNED."""
    lanes: int = 1
    """So many threads share the work for a text."""
    _last: list[tuple[Sequence[int], Sequence[Heads]]] = field(default_factory=list, init=False, repr=False)
    """The ids of the last text, and the keys and values of its tokens in each block; or nothing."""

    def tokenize(self, text: str) -> tuple[list[int], bool]:
        """Returns the token ids of a text, and whether it was cut."""
        return tokenize(text, self.context_length, self.learned)

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each text."""
        return tokenize_all(texts, self.context_length, self.learned)

    def embed(self, ids: Sequence[int]) -> Array:
        """Token ids (N) -> their embeddings (N, C), in the number format of the weights."""
        places = np.asarray(ids, dtype=np.int64)
        embedded: Array = self.tensors[EMBEDDING][places]
        if (is_learned := places < 0).any():
            embedded[is_learned] = self.tensors[LEARNED][places[is_learned]]
        return embedded

    def encode(self, ids: Sequence[int]) -> Vector:
        """Token ids of a text (N) -> (D,), not of unit length. Ids after the end of text have no influence."""
        with np.errstate(all="ignore"):  # damaged weights; the caller checks the result
            return self._features(ids[: ids.index(max(ids)) + 1])  # the end of text has the highest id

    def _features(self, ids: Sequence[int]) -> Vector:
        known, past = self._known(ids)
        x = self.embed(ids[known:]).astype(np.float32)  # (N, C), of the tokens that are not known
        x = x + self.tensors["positional_embedding"][known : len(ids)]
        seen = []
        for i in range(self.layers):
            block = f"transformer.resblocks.{i}."
            kept = 1 if i == self.layers - 1 else len(x)  # the tower's output is that of the last token alone
            attended, keys_and_values = self._attend(block, self._norm(f"{block}ln_1", x), kept, past[i])
            seen.append(keys_and_values)
            x = x[-kept:] + self._scale(f"{block}ls_1", attended)
            x = x + self._scale(f"{block}ls_2", self._mlp(block, self._norm(f"{block}ln_2", x)))
        self._last[:] = [(ids, seen)]
        features: Vector = self._norm("ln_final", x[-1]) @ self.tensors["text_projection"]
        return features

    def _known(self, ids: Sequence[int]) -> tuple[int, Sequence[Heads]]:
        """Returns how many of the first tokens began the last text too, and their keys and values in each block.

        No token sees those after it, so these are the same in every text. The last of `ids` is never among them."""
        last, seen = (*self._last, ((), ()))[0]
        count = sum(1 for _ in takewhile(bool, map(eq, last, ids[:-1])))
        return count, [[(k[:, :count], v[:, :count]) for k, v in block] for block in seen] or [[]] * self.layers

    def _attend(self, block: str, x: Vector, kept: int, past: Heads) -> tuple[Vector, Heads]:
        """(N, C) -> (kept, C), of the last tokens; and the keys and values of all tokens.

        `past` are those of the tokens before."""
        width = x.shape[1]
        size = width // self.heads
        weight = self.tensors[f"{block}attn.in_proj_weight"].reshape(3, width, width)
        bias = self.tensors[f"{block}attn.in_proj_bias"].reshape(3, width)
        out = self.tensors[f"{block}attn.out_proj.weight"]

        def attend(number: int, heads: slice) -> tuple[Vector, tuple[Vector, Vector]]:
            own = slice(heads.start * size, heads.stop * size)
            q, k, v = (
                (_product(tokens, weight[i, own]) + bias[i, own]).reshape(len(tokens), -1, size).transpose(1, 0, 2)
                for i, tokens in enumerate((x[-kept:], x, x))
            )  # each (heads, N, C / heads)
            if past:
                k, v = (np.concatenate(both, axis=1) for both in zip(past[number], (k, v), strict=True))
            total = k.shape[1]
            logits = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(size))
            logits[:, ~np.tri(kept, total, total - kept, dtype=bool)] = -np.inf  # no token sees those after it
            weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            return _product((weights @ v).transpose(1, 0, 2).reshape(kept, -1), out[:, own]), (k, v)

        parts = self._in_lanes(attend, self.heads)
        attended: Vector = sum((part for part, _ in parts), self.tensors[f"{block}attn.out_proj.bias"])
        return attended, [keys_and_values for _, keys_and_values in parts]

    def _mlp(self, block: str, x: Vector) -> Vector:  # (N, C) -> (N, C)
        weight, bias, out = (
            self.tensors[f"{block}mlp.{name}"] for name in ("c_fc.weight", "c_fc.bias", "c_proj.weight")
        )

        def part(_: int, hidden: slice) -> Vector:
            return _product(self._gelu(_product(x, weight[hidden]) + bias[hidden]), out[:, hidden])

        added: Vector = sum(self._in_lanes(part, len(weight)), self.tensors[f"{block}mlp.c_proj.bias"])
        return added

    def _in_lanes(self, work: Callable[[int, slice], R], length: int) -> list[R]:
        """Returns the results of `work` for each lane, called with its number and its part of a length."""

        def run(number: int) -> R:
            with np.errstate(all="ignore"):  # damaged weights; the caller of `encode` checks the result
                return work(number, slice(length * number // self.lanes, length * (number + 1) // self.lanes))

        return in_threads(run, self.lanes)

    def _norm(self, name: str, x: Vector) -> Vector:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(NORM_EPSILON))
        normed: Vector = centred / deviation * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
        return normed

    def _scale(self, name: str, x: Vector) -> Vector:
        """Applies LayerScale, in models that have it."""
        return x * self.tensors[f"{name}.gamma"] if f"{name}.gamma" in self.tensors else x

    def _gelu(self, x: Vector) -> Vector:
        share: Vector = 1 / (1 + np.exp(np.float32(-1.702) * x)) if self.quick_gelu else _normal_share(x)
        return x * share


def _product(x: Vector, weight: Array) -> Vector:
    """Returns x (N, I) times the transpose of a weight (O, I): (N, O).

    For the few tokens of a query OpenBLAS takes 3 to 20 % less time in this order than in that of the formula."""
    product: Vector = (weight @ x.T).T
    return product


def _normal_share(x: Vector) -> Vector:
    """Returns the share of a normal distribution below x, with an error of 2e-7 (Abramowitz and Stegun, 7.1.26)."""
    x = x * np.float32(0.5**0.5)
    t: Vector = np.reciprocal(1 + np.float32(0.3275911) * np.abs(x))
    series: Vector = np.zeros_like(x)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    share: Vector = (1 + np.sign(x) * (1 - series * np.exp(-np.square(x)))) / np.float32(2)
    return share


def read_text_tower(
    config: Mapping[str, Any], weights: Path, adapter: Path | None = None, learned: Learned = NO_WORDS
) -> TextTower | None:
    """Returns the text tower of a model with this `config` of open_clip, with an adapter folded in.

    `learned`: the words that the adapter has taught.

    None if anything is unusual: a checkpoint that is not safetensors, another kind of tower or tokenizer, an adapter
    that does not fit."""
    text = config["text_cfg"]
    if not (config.keys() <= PLAIN_CONFIG and text.keys() <= PLAIN_TEXT_CONFIG):
        return None
    width, layers, heads = text.get("width", 512), text.get("layers", 12), text.get("heads", 8)
    length = text.get("context_length", 77)
    try:
        tensors = map_tensors(weights)
        changes = map_tensors(adapter) if adapter else {}
        shapes = _shapes(config["embed_dim"], width, layers, length, text.get("mlp_ratio", 4.0))
        if text.get("ls_init_value") is not None:
            shapes |= {f"transformer.resblocks.{i}.ls_{n}.gamma": (width,) for i in range(layers) for n in (1, 2)}
        tower = {name: fold(tensors[name], name, changes) for name in shapes}
    except (OSError, ValueError, KeyError, TypeError):  # open_clip can read it, or reports what is wrong
        return None
    if text.get("vocab_size", VOCABULARY_SIZE) != VOCABULARY_SIZE or width % heads:
        return None
    if any(tower[name].shape != shape for name, shape in shapes.items()):
        return None
    if learned:
        rows = changes.get(LEARNED, np.empty((0, 0)))
        if rows.shape != (sum(map(len, learned.values())), width):
            return None
        tower[LEARNED] = rows
    return TextTower(
        tower, layers, heads, length, bool(config.get("quick_gelu")), learned, LANES if width >= WIDE else 1
    )


def _shapes(dim: int, width: int, layers: int, length: int, mlp_ratio: float) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the tensors of a text tower, by name."""
    hidden = int(width * mlp_ratio)
    block = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (hidden, width),
        "mlp.c_fc.bias": (hidden,),
        "mlp.c_proj.weight": (width, hidden),
        "mlp.c_proj.bias": (width,),
    }
    return {
        EMBEDDING: (VOCABULARY_SIZE, width),
        "positional_embedding": (length, width),
        **{f"transformer.resblocks.{i}.{name}": shape for i in range(layers) for name, shape in block.items()},
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
        "text_projection": (width, dim),
    }


def fold(weight: Array, name: str, changes: Mapping[str, Array]) -> Array:
    """Returns a weight in float32 as an adapter changes it: replaced, or with B A of a LoRA added, as in lora.py.

    The token embedding keeps its number format, since few of its rows are used. Raises ValueError if a LoRA does not
    fit."""
    weight = changes.get(name, weight)
    if name == EMBEDDING:
        return weight
    lora = name.removesuffix("in_proj_weight") + "lora_"
    if not name.endswith("in_proj_weight") or f"{lora}a" not in changes:
        return weight.astype(np.float32, copy=False)
    a, b = (changes[f"{lora}{x}"].astype(np.float32) for x in "ab")  # (r, C), (3 C, r)
    return weight.astype(np.float32) + b @ a


def open_clip_config(model: str) -> Mapping[str, Any] | None:
    """Returns open_clip's configuration of a model; None if open_clip has no model of this name."""
    file = open_clip_folder() / "model_configs" / f"{model}.json"
    return read_config(file) if file.is_file() else None


def read_config(file: Path) -> Mapping[str, Any]:
    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config


def map_tensors(file: Path) -> dict[str, Array]:
    """Maps the tensors of a safetensors file, by name; they are read from disk when they are used.

    Tensors in number formats that numpy lacks are skipped. Raises OSError, and ValueError for other kinds of files."""
    with open(file, "rb") as opened:
        content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    tensors = {}
    for name, described in header.items():
        if dtype := DTYPES.get(described.get("dtype")):
            first, last = described["data_offsets"]
            count = (last - first) // np.dtype(dtype).itemsize
            tensors[name] = np.frombuffer(content, dtype, count, start + first).reshape(described["shape"])
    return tensors
