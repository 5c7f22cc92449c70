"""The bank: descriptions of things that nobody films, which show how well words that mean nothing fit an index."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from vidfind.models.catalog import TINY, TINY_FOLDER

LONGEST = 16
"""Words of a text beyond this number are not counted: CLIP was trained on few longer captions."""


@functools.cache
def read_bank(model: str) -> tuple[str, ...]:
    """Returns the texts of the bank for a model: in English, or in the words that the built-in model knows."""
    file = (TINY_FOLDER if model == TINY else Path(__file__).parent) / "bank.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines())


def count_words(texts: Sequence[str]) -> list[int]:
    """Returns the number of words of each text, at most LONGEST."""
    return [min(LONGEST, sum(map(is_word, text.split()))) for text in texts]


def is_word(text: str) -> bool:
    """Whether a text without spaces is a word: it has a letter or a digit."""
    return any(map(str.isalnum, text))
