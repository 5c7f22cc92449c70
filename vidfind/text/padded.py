"""Tokens of texts as tensors, which a model in PyTorch reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from vidfind.text.tokenizer import ClipTokenizer, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor


class PaddedTokenizer:
    """Texts -> their ids in a tensor (N, length), padded, as the tokenizers of open_clip return them."""

    def __init__(self, make: Callable[[], Tokenizer]) -> None:
        """`make` is called when the first text comes: an index without words needs none."""
        self._make = make

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return self._make()

    @property
    def context_length(self) -> int:
        """How many ids the model reads of a text."""
        return self.tokenizer.context_length

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """`context_length`: how many ids there are of each text; None: as many as the model reads."""
        import torch

        tokenizer = self._of(context_length)
        ids = tokenizer.tokenize_all([texts] if isinstance(texts, str) else list(texts))
        padded = torch.full((len(ids), tokenizer.context_length), tokenizer.pad, dtype=torch.long)
        for row, one in zip(padded, ids, strict=True):
            row[: len(one)] = torch.tensor(one)
        return padded

    def is_cut(self, text: str, context_length: int | None = None) -> bool:
        """Whether a text has more ids than `context_length`, or than the model reads."""
        return self._of(context_length).tokenize(text)[1]

    def _of(self, context_length: int | None) -> Tokenizer:
        return replace(self.tokenizer, context_length=context_length) if context_length else self.tokenizer


def clip_tokenizer(context_length: int = 77) -> PaddedTokenizer:
    """Returns CLIP's own tokenizer."""
    return PaddedTokenizer(lambda: ClipTokenizer(context_length))
