"""The bank: descriptions of things that nobody films, which show how well words that mean nothing fit an index."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from vidfind.models.catalog import TINY, TINY_FOLDER

LONGEST = 16
"""So many words of a text count; CLIP has read few captions that are longer."""


@functools.cache
def read_bank(model: str) -> tuple[str, ...]:
    """The bank of a model: in English, or of scenes that cannot be drawn, in the words of the built-in model."""
    file = (TINY_FOLDER if model == TINY else Path(__file__).parent) / "bank.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines())


def count_words(texts: Sequence[str]) -> list[int]:
    """How many words of each text count, at most LONGEST."""
    return [min(LONGEST, sum(map(is_word, text.split()))) for text in texts]


def is_word(text: str) -> bool:
    """Whether a text without spaces is a word: it has a letter or a digit."""
    return any(map(str.isalnum, text))
