"""Turns texts into vectors without PyTorch: the text half of a model in numpy, read from its file of weights.

For open_clip's own text transformer, in a safetensors file with open_clip's names: that of CLIP, PE, SigLIP,
MobileCLIP and others. For every other model `read_text_tower` returns None, and PyTorch does it. Knows nothing of
indexes, or of where weights come from. Letters: B texts, N tokens, C width, D embedding size.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vidfind.system.machine import in_threads
from vidfind.text.shape import EMBEDDING, Shape, read_shape
from vidfind.text.tokenizer import DIRECTIONS, LEARNED, NO_WORDS, Learned, Tokenizer

Array = npt.NDArray[Any]
Vector = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
R = TypeVar("R")
Heads = Sequence[tuple[Vector, Vector]]
"""The keys and values of tokens in one block, each (B, heads, N, C / heads), by lane."""
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
PREFIX = "text."
"""What stands before the names of the text tower's weights in a model whose towers open_clip keeps apart."""
TOKENS_A_BATCH = 512
"""How many tokens are read at a time: the hidden values of the largest towers then take 10 MB."""
LANES = min(2, os.cpu_count() or 1)
WIDE = 512
"""In narrower towers, handing work to another thread takes longer than the work."""
Gelu = Callable[[Vector], Vector]


# The text tower


@dataclass(frozen=True)
class TextTower:
    """A transformer over the tokens of texts; `tensors` by open_clip's names, without the prefix of the tower."""

    shape: Shape
    tensors: Mapping[str, Array]
    """Those of an adapter's learned words too, under LEARNED and DIRECTIONS."""
    tokenizer: Tokenizer
    lanes: int = 1
    """So many threads share the work for a text."""
    _last: list[tuple[Sequence[int], Sequence[Heads]]] = field(default_factory=list, init=False, repr=False)
    """The ids of the last text that came alone, and the keys and values of its tokens in each block; or nothing."""

    def embed(self, ids: Sequence[int] | Ids) -> Array:
        """Token ids (..., N) -> their embeddings (..., N, C), in the number format of the weights."""
        places = np.asarray(ids, dtype=np.int64)
        embedded: Array = self.tensors[EMBEDDING][places]
        if (is_learned := places < 0).any():
            embedded[is_learned] = self.tensors[LEARNED][places[is_learned]]
        return embedded

    def encode(self, texts: Sequence[str]) -> Vector:
        """Texts (B) -> (B, D), not of unit length. Texts too long for the model are cut."""
        return self.encode_ids(self.tokenizer.tokenize_all(texts))

    def encode_ids(self, ids: Sequence[Sequence[int]]) -> Vector:
        """Token ids of texts (B of N) -> (B, D), not of unit length. Ids after the end of a text have no influence."""
        features = np.empty((len(ids), self.shape.dim), np.float32)
        ends = [self._end(one) for one in ids]
        lengths = [end + 1 if self.shape.is_causal else self.shape.context_length for end in ends]
        with np.errstate(all="ignore"):  # damaged weights; the caller checks the result
            for batch in _batches(lengths):
                padded = np.full((len(batch), max(lengths[i] for i in batch)), self.tokenizer.pad)
                for row, i in zip(padded, batch, strict=True):
                    row[: len(ids[i])] = ids[i][: len(row)]
                features[batch] = self._features(padded, np.array([ends[i] for i in batch]))
            for row, one in zip(features, ids, strict=True):
                if DIRECTIONS in self.tensors and (own := [i for i in set(one) if i < 0]):
                    row[:] = row / np.linalg.norm(row) + self.tensors[DIRECTIONS][own].sum(axis=0)
        return features

    def _end(self, ids: Sequence[int]) -> int:
        """Returns the place whose output is the vector of a text."""
        if self.shape.pool == "last":
            return self.shape.context_length - 1
        end = max(ids) if self.shape.pool == "argmax" else self.shape.end
        return ids.index(end) if end in ids else 0

    def _features(self, ids: Ids, ends: Ids) -> Vector:
        """Token ids (B, N) and the places to read (B,) -> (B, D)."""
        known, past = self._known(ids)
        x = self.embed(ids[:, known:]).astype(np.float32)  # (B, N, C), of the tokens that are not known
        x = x + self.tensors["positional_embedding"][known : ids.shape[1]]
        places, seen = np.arange(known, ids.shape[1])[np.newaxis], []
        for i in range(self.shape.layers):
            block, normed = f"transformer.resblocks.{i}.", self._norm(f"transformer.resblocks.{i}.ln_1", x)
            read = normed
            if i == self.shape.layers - 1:  # of its output, only one place is read
                rows = np.arange(len(ids)), ends - known
                places, x, read = ends[:, np.newaxis], x[rows][:, np.newaxis], normed[rows][:, np.newaxis]
            attended, keys_and_values = self._attend(f"{block}attn.", read, normed, places, past[i])
            seen.append(keys_and_values)
            x = x + self._scale(f"{block}ls_1", attended)
            x = x + self._scale(f"{block}ls_2", self._mlp(f"{block}mlp.", self._norm(f"{block}ln_2", x)))
        if len(ids) == 1 and self.shape.is_causal:
            self._last[:] = [(ids[0].tolist(), seen)]
        return self._project(self._norm("ln_final", x[:, 0]))

    def _known(self, ids: Ids) -> tuple[int, Sequence[Heads]]:
        """Returns how many of the first tokens began the last text too, and their keys and values in each block.

        Where no token sees those after it, these are the same in every text. The last of `ids` is never among them."""
        last, seen = (*self._last, ((), ()))[0] if len(ids) == 1 and self.shape.is_causal else ((), ())
        count = sum(1 for _ in takewhile(bool, map(eq, last, ids[0, :-1].tolist())))
        known = [[(k[:, :, :count], v[:, :, :count]) for k, v in block] for block in seen]
        return count, known or [[]] * self.shape.layers

    def _attend(self, name: str, x: Vector, seen: Vector, places: Ids, past: Heads) -> tuple[Vector, Heads]:
        """Tokens (B, n, C) at `places` (B or 1, n) look at those `seen` (B, N, C) and those before them: (B, n, C).

        `past` are the keys and values of those before. Also returns those of all tokens."""
        width, heads = self.shape.width, self.shape.heads
        size = width // heads
        weight = self.tensors[f"{name}in_proj_weight"].reshape(3, width, width)
        bias = self.tensors[f"{name}in_proj_bias"].reshape(3, width)
        out = self.tensors[f"{name}out_proj.weight"]

        def attend(number: int, heads: slice) -> tuple[Vector, tuple[Vector, Vector]]:
            own = slice(heads.start * size, heads.stop * size)
            q, k, v = (
                (_product(tokens, weight[i, own]) + bias[i, own]).reshape(*tokens.shape[:2], -1, size).swapaxes(1, 2)
                for i, tokens in enumerate((x, seen, seen))
            )  # each (B, heads, N, C / heads)
            if past:
                k, v = (np.concatenate(both, axis=2) for both in zip(past[number], (k, v), strict=True))
            logits = q @ k.swapaxes(-1, -2) / np.sqrt(np.float32(size))
            if self.shape.is_causal:
                is_later = np.arange(k.shape[2]) > places[..., np.newaxis]  # (B or 1, n, N)
                logits = np.where(is_later[:, np.newaxis], np.float32(-np.inf), logits)
            weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            return _product((weights @ v).swapaxes(1, 2).reshape(*x.shape[:2], -1), out[:, own]), (k, v)

        parts = self._in_lanes(attend, heads)
        attended: Vector = sum((part for part, _ in parts), self.tensors[f"{name}out_proj.bias"])
        return attended, [keys_and_values for _, keys_and_values in parts]

    def _mlp(self, name: str, x: Vector) -> Vector:  # (B, N, C) -> (B, N, C)
        weight, bias, out = (self.tensors[f"{name}{part}"] for part in ("c_fc.weight", "c_fc.bias", "c_proj.weight"))
        gelu = GELUS[self.shape.gelu]

        def part(_: int, hidden: slice) -> Vector:
            return _product(gelu(_product(x, weight[hidden]) + bias[hidden]), out[:, hidden])

        added: Vector = sum(self._in_lanes(part, self.shape.hidden), self.tensors[f"{name}c_proj.bias"])
        return added

    def _in_lanes(self, work: Callable[[int, slice], R], length: int) -> list[R]:
        """Returns the results of `work` for each lane, called with its number and its part of a length."""

        def run(number: int) -> R:
            with np.errstate(all="ignore"):  # damaged weights; the caller of `encode` checks the result
                return work(number, slice(length * number // self.lanes, length * (number + 1) // self.lanes))

        return in_threads(run, self.lanes)

    def _project(self, x: Vector) -> Vector:  # (B, C) -> (B, D)
        match self.shape.projection:
            case "matrix":
                projected: Vector = x @ self.tensors["text_projection"]
                return projected
            case "linear":
                return _product(x, self.tensors["text_projection.weight"]) + self.tensors["text_projection.bias"]
            case _:
                return x

    def _norm(self, name: str, x: Vector) -> Vector:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(self.shape.epsilon))
        normed: Vector = centred / deviation * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
        return normed

    def _scale(self, name: str, x: Vector) -> Vector:
        """Applies LayerScale, in models that have it."""
        return x * self.tensors[f"{name}.gamma"] if self.shape.has_scales else x


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yields the places of texts in batches of about the same length, of TOKENS_A_BATCH if one is not longer."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > TOKENS_A_BATCH:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _product(x: Vector, weight: Array) -> Vector:
    """Returns x (..., I) times the transpose of a weight (O, I): (..., O).

    For the few tokens of a query OpenBLAS takes 3 to 20 % less time in this order than in that of the formula."""
    product: Vector = (weight @ x.reshape(-1, x.shape[-1]).T).T.reshape(*x.shape[:-1], -1)
    return product


def _exact_gelu(x: Vector) -> Vector:
    """Returns x times the share of a normal distribution below it, which has an error of 2e-7 (Abramowitz and Stegun,
    7.1.26)."""
    scaled = x * np.float32(0.5**0.5)
    t: Vector = np.reciprocal(1 + np.float32(0.3275911) * np.abs(scaled))
    series: Vector = np.zeros_like(x)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    gelu: Vector = x * (1 + np.sign(scaled) * (1 - series * np.exp(-np.square(scaled)))) / np.float32(2)
    return gelu


def _quick_gelu(x: Vector) -> Vector:
    gelu: Vector = x / (1 + np.exp(np.float32(-1.702) * x))
    return gelu


def _tanh_gelu(x: Vector) -> Vector:
    inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    gelu: Vector = x * (1 + np.tanh(inner)) / np.float32(2)
    return gelu


GELUS: Mapping[str, Gelu] = {"exact": _exact_gelu, "quick": _quick_gelu, "tanh": _tanh_gelu}


# Files


def read_text_tower(
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    weights: Path,
    adapter: Path | None = None,
    learned: Learned = NO_WORDS,
) -> TextTower | None:
    """Returns the text tower of a model with this `config` of open_clip, with an adapter folded in.

    `learned`: the words that the adapter has taught, which the tokenizer knows.

    None if anything is unusual: a checkpoint that is not safetensors, another kind of tower, an adapter that does not
    fit."""
    shape = read_shape(config)
    if shape is None:
        return None
    try:
        tensors = map_tensors(weights)
        changes = map_tensors(adapter) if adapter else {}
        shapes = shape.tensors()
        tower = {name: fold(tensors[name], name, changes) for name in shapes}
    except (OSError, ValueError, KeyError, TypeError):  # open_clip can read it, or reports what is wrong
        return None
    if any(tower[name].shape != expected for name, expected in shapes.items()):
        return None
    if learned:
        rows = changes.get(LEARNED, np.empty((0, 0)))
        if rows.shape != (sum(map(len, learned.values())), shape.width):
            return None
        tower[LEARNED] = rows
        if (directions := changes.get(DIRECTIONS)) is not None:
            if directions.shape != (len(rows), shape.dim):
                return None
            tower[DIRECTIONS] = directions
    return TextTower(shape, tower, tokenizer, LANES if shape.width >= WIDE else 1)


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


def map_tensors(file: Path) -> dict[str, Array]:
    """Maps the tensors of a safetensors file, by name without PREFIX; they are read from disk when they are used.

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
            mapped = np.frombuffer(content, dtype, count, start + first)
            tensors[name.removeprefix(PREFIX)] = mapped.reshape(described["shape"])
    return tensors
