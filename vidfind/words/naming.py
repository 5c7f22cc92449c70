"""Finds the words in captions that a model cannot place, and for each the known noun that fits its videos best.

A word of the owner's own ("Rex", "blip") is rare, but not too rare, and the model reads it in pieces, as a name, or not
at all. Works on captions and vectors; the caller turns texts into vectors.
Letters: C captions, N clips, D embedding size.
"""

from __future__ import annotations

import functools
import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidfind.errors import BadInput
from vidfind.models.catalog import TINY, TINY_FOLDER
from vidfind.text.tokenizer import tokenize_all, word_key
from vidfind.words.bank import is_word
from vidfind.words.half import FUNCTION_WORDS

Vectors = npt.NDArray[np.floating]
Encode = Callable[[Sequence[str]], Vectors]
"""Texts -> vectors (C, D) of unit length."""
FEWEST_CAPTIONS = 4
"""Captions that a word is in before it is learned."""
MOST_CAPTIONS = 0.6
"""The share of all captions above which a word tells none of them from the others."""
MOST_WORDS = 8
CAPTIONS_JUDGED = 24
"""Captions of a word that nouns are tried in; FEWEST_CAPTIONS of them sort out most nouns."""
NOUNS_LEFT = 8
CLEAR = 2.5
"""By how many standard errors a noun must place captions better than a word that the model reads, to replace it."""
CONTEXT = 77
POSSESSIVE = re.compile(r"['\u2019]s$", re.IGNORECASE)


@dataclass(frozen=True)
class NewWord:
    """A word to be learned, as its owner writes it."""

    text: str
    noun: str
    """The known word that its meaning starts from."""
    is_asked: bool = False
    """Whether the user named it."""


@functools.cache
def read_nouns(model: str) -> tuple[str, ...]:
    """Returns names of kinds of things for a model: in English, or those that the built-in model knows."""
    file = (TINY_FOLDER if model == TINY else Path(__file__).parent) / "nouns.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines())


def candidates(captions: Sequence[str], is_blank: Callable[[Sequence[int]], bool]) -> dict[str, bool]:
    """Returns words of captions that the model may not know, the most frequent first, and whether it surely does not.

    `is_blank` says of token ids whether the model has never met any of them. Other candidates are names, which have a
    capital letter inside captions, and words that CLIP reads in pieces."""
    captions = list(dict.fromkeys(captions))
    counts: Counter[str] = Counter()
    spelled: dict[str, Counter[str]] = defaultdict(Counter)
    inner_capitals = inner = 0
    for caption in captions:
        words = [_bare(word) for word in caption.split()]
        counts.update({word.lower() for word in words})
        for word in words[1:]:
            spelled[word.lower()][word] += 1
            inner_capitals += word[:1].isupper()
            inner += 1
    has_titles = inner_capitals > inner / 2  # Every Word Has A Capital Letter
    usual = [
        word
        for word, count in counts.most_common()
        if FEWEST_CAPTIONS <= count <= MOST_CAPTIONS * len(captions)
        and word not in FUNCTION_WORDS
        and any(map(str.isalpha, word))
    ]
    found: dict[str, bool] = {}
    for word, framed in zip(usual, tokenize_all(usual, CONTEXT), strict=True):
        ids = framed[1:-1]
        ways = spelled[word]
        is_name = not has_titles and bool(ways) and all(way[:1].isupper() for way in ways)
        if is_blank(ids) or is_name or len(ids) > 1:
            found[ways.most_common(1)[0][0] if ways else word] = is_blank(ids)
    singular = {word: surely for word, surely in found.items() if not _is_plural(word, found)}
    return dict(list(singular.items())[:MOST_WORDS])


def _bare(word: str) -> str:
    return POSSESSIVE.sub("", word.strip(string.punctuation + "\u2018\u2019\u201c\u201d")) if is_word(word) else ""


def _is_plural(word: str, others: Mapping[str, bool]) -> bool:
    known = {other.lower() for other in others}
    return any(word.lower().removesuffix(end) in known for end in ("s", "es") if word.lower().endswith(end))


def has_word(caption: str, word: str) -> bool:
    """Whether a word, or its plural, stands in a caption; case makes no difference."""
    return bool(_pattern(word).search(caption))


def has_any(caption: str, words: Iterable[str]) -> bool:
    """Whether any of the words stands in a caption."""
    return any(has_word(caption, word) for word in words)


def replaced(caption: str, word: str, other: str) -> str:
    """Returns a caption with another word, or none, in place of one."""
    return " ".join(_pattern(word).sub(lambda _: other, caption).split())


@functools.cache
def _pattern(word: str) -> re.Pattern[str]:
    spaced = r"\s+".join(map(re.escape, word.split()))
    return re.compile(rf"(?<!\w){spaced}(?:e?s)?(?!\w)", re.IGNORECASE)


def check_words(asked: Mapping[str, str], captions: Sequence[str]) -> None:
    """Raises BadInput for a word that the user wants to teach, but that no caption has."""
    for word in asked:
        if not word_key(word) or not any(has_word(caption, word) for caption in captions):
            raise BadInput(f"No caption has the word {word!r}. Give --word a word of your captions: --word Rex=dog.")


def best_noun(
    word: str, captions: Sequence[str], clips: Vectors, nouns: Sequence[str], encode: Encode, scale: float
) -> tuple[str, bool]:
    """Returns the noun that places the captions of a word best, and whether clearly better than the word itself does.

    `captions` (N,) with clips (N, D) of unit length. A caption is placed by the logarithm of the probability (softmax
    over all clips) of its own clip. Without a caption that has the word, the first noun."""
    places = [place for place, caption in enumerate(captions) if has_word(caption, word)]
    if not places:
        return nouns[0], False

    def placed(others: Sequence[str], chosen: Sequence[int]) -> Vectors:  # (words, captions)
        texts = [replaced(captions[place], word, other) for other in others for place in chosen]
        logits = scale * encode(texts) @ clips.T
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[np.arange(len(texts)), list(chosen) * len(others)]
        found: Vectors = (own - np.log(np.exp(logits).sum(axis=1))).reshape(len(others), len(chosen))
        return found

    def spread(count: int) -> list[int]:
        return (
            [places[i * len(places) // count] for i in range(min(count, len(places)))]
            if count < len(places)
            else places
        )

    first = placed(nouns, spread(FEWEST_CAPTIONS)).mean(axis=1)
    left = [nouns[i] for i in np.argsort(-first, kind="stable")[:NOUNS_LEFT]]
    chosen = spread(CAPTIONS_JUDGED)
    scores = placed([*left, word], chosen)
    best = int(scores[:-1].mean(axis=1).argmax())
    gain = scores[best] - scores[-1]
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return left[best], bool(gain.mean() > CLEAR * error)
