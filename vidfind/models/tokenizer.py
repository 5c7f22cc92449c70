"""CLIP's tokenizer, without open_clip and PyTorch."""

from __future__ import annotations

import functools
import gzip
import html
import importlib.util
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers.models import BPE

START_OF_TEXT, END_OF_TEXT = "<start_of_text>", "<end_of_text>"
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_SIZE = 49408
WORD_END = "</w>"
MOST_KNOWN = 20_000
"""Words whose tokens are kept."""
WORDS = rf"{START_OF_TEXT}|{END_OF_TEXT}|'s|'t|'re|'ve|'m|'ll|'d|[LETTER]+|[DIGIT]|[^\sLETTERDIGIT]+"
"""Splits a lower-case text into words."""


# Tokens


def tokenize(text: str, context_length: int) -> tuple[list[int], bool]:
    """Returns the ids that open_clip's tokenizer gives, with start and end of text, and whether the text was cut."""
    vocabulary = _vocabulary()
    ids = itertools.chain.from_iterable(vocabulary.ids(split_words(text, context_length)))
    return _framed(list(ids), context_length)


def tokenize_all(texts: Sequence[str], context_length: int) -> list[list[int]]:
    """Returns the ids of several texts, as `tokenize` does, far quicker than one after the other."""
    split = [split_words(text, context_length) for text in texts]
    words = list(dict.fromkeys(itertools.chain.from_iterable(split)))
    ids = dict(zip(words, _vocabulary().ids(words), strict=True))
    return [_framed([id for word in one for id in ids[word]], context_length)[0] for one in split]


def split_words(text: str, context_length: int) -> list[str]:
    """Returns the words of a text that can fit in so many tokens, in lower case."""
    return [word[0] for word in itertools.islice(_words(clean(text)), context_length)]


def _framed(ids: list[int], context_length: int) -> tuple[list[int], bool]:
    """Returns ids with start and end of text, and whether they were cut."""
    vocabulary = _vocabulary()
    if len(ids) + 1 >= context_length:
        return [vocabulary.start, *ids[: context_length - 2], vocabulary.end], True
    return [vocabulary.start, *ids, vocabulary.end], False


def _words(text: str) -> Iterator[re.Match[str]]:
    if text.isascii():
        return re.finditer(WORDS.replace("LETTER", "a-z").replace("DIGIT", "0-9"), text)
    import regex  # 40 ms; open_clip's own choice: what counts as a letter may differ between libraries

    words: Iterator[re.Match[str]] = regex.finditer(WORDS.replace("LETTER", r"\p{L}").replace("DIGIT", r"\p{N}"), text)
    return words


def clean(text: str) -> str:
    """Returns a text as CLIP reads it: broken characters repaired, HTML entities decoded, lower case, single spaces."""
    if not (text.isascii() and text.isprintable()):  # only other texts can be broken; this saves an import of 50 ms
        import ftfy

        text = ftfy.fix_text(text)
    return " ".join(html.unescape(html.unescape(text)).split()).lower()


class Vocabulary:
    """CLIP's byte pair encoding: the bytes, the bytes at the end of a word, then a token for each merge, in order."""

    def __init__(self, merges: Sequence[str]) -> None:
        """`merges`: the two tokens of each merge, separated by a space."""
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [byte for byte in range(256) if byte not in printable]
        letters = [*map(chr, printable), *(chr(256 + i) for i in range(len(others)))]
        self._letters = dict(zip([*printable, *others], letters, strict=True))
        self._single = {token: id for id, token in enumerate([*letters, *(letter + WORD_END for letter in letters)])}
        self._merges = merges
        self.start = len(self._single) + len(merges)
        self.end = self.start + 1
        self._special = {START_OF_TEXT: [self.start], END_OF_TEXT: [self.end]}
        self._known = dict(self._special)

    def ids(self, words: Iterable[str]) -> list[list[int]]:
        """Returns the ids of the tokens of each word. Words that come again take no time."""
        words = list(words)
        spelled = {
            word: "".join(self._letters[byte] for byte in word.encode()) for word in words if word not in self._known
        }
        if len(self._known) > MOST_KNOWN:
            self._known = dict(self._special)
            return self.ids(words)
        if spelled:
            bpe = self._bpe(" ".join(letters + WORD_END for letters in spelled.values()))
            self._known |= {word: [token.id for token in bpe.tokenize(letters)] for word, letters in spelled.items()}
        return [self._known[word] for word in words]

    def _bpe(self, text: str) -> BPE:
        """Returns the encoder for one text, with only the merges that can occur in it; all take 80 ms to set up."""
        from tokenizers.models import BPE

        tokens, pairs = dict(self._single), []
        for id, merge in enumerate(self._merges, start=len(tokens)):
            if (token := merge.replace(" ", "")) in text:
                left, _, right = merge.partition(" ")
                tokens[token] = id
                pairs.append((left, right))
        return BPE(tokens, pairs, end_of_word_suffix=WORD_END)


@functools.cache
def _vocabulary() -> Vocabulary:
    count = VOCABULARY_SIZE - 2 * 256 - 2
    with gzip.open(open_clip_folder() / VOCABULARY, "rt", encoding="utf-8", newline="\n") as file:
        return Vocabulary([line.removesuffix("\n") for line in itertools.islice(file, 1, 1 + count)])  # below a title


def open_clip_folder() -> Path:
    """Returns the folder of open_clip without importing it, which would take seconds."""
    spec = importlib.util.find_spec("open_clip")
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])
