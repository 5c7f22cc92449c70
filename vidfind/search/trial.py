"""Tries how well the match tells what is in a collection from what is not, with descriptions that somebody wrote.

The least match at which words count as fitting was chosen with another model: real weights and real videos are tried
with a file of descriptions of what is there, and one of what is not.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidfind.errors import BadInput
from vidfind.search.moments import NOTHING
from vidfind.search.question.expression import plain_words
from vidfind.search.searcher import Searcher
from vidfind.words.bank import count_words

WANTED_PRESENT, WANTED_ABSENT = 90, 20
"""Percent of descriptions that should match: at least so many of what is there, at most so many of what is not."""


@dataclass(frozen=True)
class Tried:
    """A description, whether it is of something in the collection, and the best moment for it."""

    text: str
    is_present: bool
    match: int
    score: float
    path: Path

    @property
    def fits(self) -> bool:
        """Whether its match counts as fitting."""
        return self.match >= NOTHING

    @property
    def words(self) -> int:
        return count_words([self.text])[0]


@dataclass(frozen=True)
class Trial:
    """The descriptions of a trial with the best moment for each."""

    tried: Sequence[Tried]

    def side(self, is_present: bool) -> list[Tried]:
        """The descriptions of what is there, or of what is not."""
        return [one for one in self.tried if one.is_present == is_present]

    @property
    def told_apart(self) -> float:
        """How often, in percent, something that is there matches better than something that is not; equal: half."""
        present, absent = (np.array([one.match for one in self.side(is_there)]) for is_there in (True, False))
        better, equal = present[:, None] > absent, present[:, None] == absent
        return float(100 * (better + equal / 2).mean())


def median_match(tried: Sequence[Tried]) -> float:
    """The median of the matches in percent."""
    return statistics.median(one.match for one in tried)


def percent_fitting(tried: Sequence[Tried]) -> float:
    """How many descriptions fit, in percent."""
    return 100 * statistics.fmean(one.fits for one in tried)


def read_descriptions(file: Path) -> list[str]:
    """The lines of a text file without empty ones and repetitions. Raises BadInput if there are none, or no file."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise BadInput(f"{file} cannot be read: {reason}.") from error
    if not (texts := list(dict.fromkeys(filter(None, map(plain_words, lines))))):
        raise BadInput(f"{file} is empty. Write a description into each line, such as: a dog on a beach")
    return texts


def try_match(searcher: Searcher, present: Sequence[str], absent: Sequence[str]) -> Trial:
    """Looks for descriptions of what is in an index, and of what is not. Raises BadInput where no match is known."""
    if both := set(present) & set(absent):
        raise BadInput(f"{min(both)!r} is in both files: say whether it is there.")
    searcher.require_match()
    tried = []
    for is_present, texts in ((True, present), (False, absent)):
        for text in texts:
            [best] = searcher.find(text, limit=1)
            tried.append(Tried(text, is_present, best.match or 0, best.score, best.path))
    return Trial(tried)
