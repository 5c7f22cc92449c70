"""The interface of tokenizers, and CLIP's, without open_clip and PyTorch."""

from __future__ import annotations

import functools
import gzip
import html
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vidfind.text.config import open_clip_folder

if TYPE_CHECKING:
    from tokenizers.models import BPE

START_OF_TEXT, END_OF_TEXT = "<start_of_text>", "<end_of_text>"
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_SIZE = 49408
WORD_END = "</w>"
LONGEST_TOKEN = 32
"""No token has more letters."""
MOST_KNOWN = 20_000
"""Words whose tokens are kept."""
WORDS = rf"{START_OF_TEXT}|{END_OF_TEXT}|'s|'t|'re|'ve|'m|'ll|'d|[LETTER]+|[DIGIT]|[^\sLETTERDIGIT]+"
"""Splits a lower-case text into words."""


Learned = Mapping[str, Sequence[int]]
"""Words that fine-tuning has taught, as `word_key` spells them: the ids of their tokens.

The ids are negative: -1 is the last row of the embeddings of all learned words. So the end of text keeps the highest
id of a text."""
NO_WORDS: Learned = {}
LEARNED = "token_embedding.rows"
"""The name of the tensor with the embeddings of learned words, in an adapter."""
DIRECTIONS = "token_embedding.directions"
"""The name of the tensor with the directions of learned words, a row for each row of LEARNED: what a text that has the
word gets added to its vector. Adapters of earlier versions have none."""


class Tokenizer(Protocol):
    """Turns texts into the ids that a model reads. A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def context_length(self) -> int:
        """How many ids the model reads of a text."""

    @property
    def pad(self) -> int:
        """The id that fills the places after a text."""

    def tokenize(self, text: str) -> tuple[list[int], bool]:
        """Returns the ids of a text, and whether it was cut."""

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text."""

    def inner(self, ids: Sequence[int]) -> Sequence[int]:
        """Returns the ids of a text without those of its start and end."""

    def is_unknown(self, ids: Sequence[int]) -> bool:
        """Whether the tokenizer has no token for what stands here, between start and end."""


@dataclass(frozen=True)
class ClipTokenizer:
    """CLIP's own tokenizer, for a model that reads `context_length` ids."""

    context_length: int
    learned: Learned = field(default_factory=dict)
    pad: int = 0

    def tokenize(self, text: str) -> tuple[list[int], bool]:
        return tokenize(text, self.context_length, self.learned)

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        return tokenize_all(texts, self.context_length, self.learned)

    def inner(self, ids: Sequence[int]) -> Sequence[int]:
        return ids[1:-1]

    def is_unknown(self, ids: Sequence[int]) -> bool:
        return False  # it has a token for every byte


# Tokens


def tokenize(text: str, context_length: int, learned: Learned = NO_WORDS) -> tuple[list[int], bool]:
    """Returns the ids that open_clip's tokenizer gives, with start and end of text, and whether the text was cut.

    Only a learned word has other ids: see `Learned`."""
    words = _join_learned(split_words(text, context_length), learned)
    plain = [word for word in words if word not in learned]
    ids = {**dict(zip(plain, _vocabulary().ids(plain), strict=True)), **learned}
    return _framed([id for word in words for id in ids[word]], context_length)


def tokenize_all(texts: Sequence[str], context_length: int, learned: Learned = NO_WORDS) -> list[list[int]]:
    """Returns the ids of several texts, as `tokenize` does, far quicker than one after the other."""
    split = [_join_learned(split_words(text, context_length), learned) for text in texts]
    words = list(dict.fromkeys(word for one in split for word in one if word not in learned))
    ids = {**dict(zip(words, _vocabulary().ids(words), strict=True)), **learned}
    return [_framed([id for word in one for id in ids[word]], context_length)[0] for one in split]


def learned_ids(tokens: Mapping[str, int]) -> Learned:
    """Returns the ids of learned words, from the number of tokens that each has; their rows lie in this order."""
    ids, first = {}, -sum(tokens.values())
    for word, count in tokens.items():
        ids[word_key(word)] = range(first, first + count)
        first += count
    return ids


def word_key(word: str) -> str:
    """Returns a word, or several that stand together, as they are looked up among learned words: "grandma 's garden".

    Case and spaces make no difference."""
    return " ".join(split_words(word, VOCABULARY_SIZE))


def _join_learned(words: list[str], learned: Learned) -> list[str]:
    """Returns words with those joined that are one learned word, the longest first; a plural becomes its singular."""
    if not learned:
        return words
    longest = max(name.count(" ") for name in learned) + 1
    joined, place = [], 0
    while place < len(words):
        for count in range(min(longest, len(words) - place), 0, -1):
            found = _learned_word(words[place : place + count], learned)
            if found:
                break
        joined.append(found or words[place])
        place += count
    return joined


def _learned_word(words: Sequence[str], learned: Learned) -> str:
    """Returns the learned word that some words are, if need be without a plural's ending; empty if they are none.

    A plural is one only where CLIP reads it in pieces: "Mars" is not the plural of "Mar"."""
    name = " ".join(words)
    if name in learned:
        return name
    singular = next((one for end in ("s", "es") if (one := name.removesuffix(end)) != name and one in learned), "")
    return singular if singular and len(_vocabulary().ids(words[-1:])[0]) > 1 else ""


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
    """Returns a text as CLIP reads it: repaired, in lower case, with single spaces."""
    return single_spaced(repaired(text)).lower()


def single_spaced(text: str) -> str:
    return " ".join(text.split())


def repaired(text: str) -> str:
    """Returns a text with broken characters repaired and HTML entities decoded."""
    if not (text.isascii() and text.isprintable()):  # only other texts can be broken; this saves an import of 50 ms
        import ftfy

        text = ftfy.fix_text(text)
    return html.unescape(html.unescape(text))


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
            bpe = self._bpe(spelled.values())
            self._known |= {word: [token.id for token in bpe.tokenize(letters)] for word, letters in spelled.items()}
        return [self._known[word] for word in words]

    def _bpe(self, words: Iterable[str]) -> BPE:
        """Returns the encoder for some words, with only the merges that can occur in them; all take 80 ms to set up."""
        from tokenizers.models import BPE

        places = self._places
        found = {places[part] for word in words for part in _parts(word) if part in places}
        tokens, pairs = dict(self._single), []
        for place in sorted(found):
            left, _, right = self._merges[place].partition(" ")
            tokens[left + right] = len(self._single) + place
            pairs.append((left, right))
        return BPE(tokens, pairs, end_of_word_suffix=WORD_END)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        """The place among the merges of the one that makes each token."""
        return {merge.replace(" ", ""): place for place, merge in enumerate(self._merges)}


def _parts(word: str) -> Iterator[str]:
    """Yields everything within a word that a merge could make of two or more of its letters, its end too."""
    for start in range(len(word)):
        if len(word) - start <= LONGEST_TOKEN:
            yield word[start:] + WORD_END
        for end in range(start + 2, min(len(word), start + LONGEST_TOKEN) + 1):
            yield word[start:end]


@functools.cache
def _vocabulary() -> Vocabulary:
    count = VOCABULARY_SIZE - 2 * 256 - 2
    with gzip.open(open_clip_folder() / VOCABULARY, "rt", encoding="utf-8", newline="\n") as file:
        return Vocabulary([line.removesuffix("\n") for line in itertools.islice(file, 1, 1 + count)])  # below a title
