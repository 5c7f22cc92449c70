"""The subject of a search: words, what to leave out, what comes next, and pictures or moments of videos.

Imports nothing heavy: the command line builds its expressions before a model or an index is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vidfind.commands import search_command
from vidfind.errors import BadInput
from vidfind.system.times import parse_time

WITHIN = 60.0
"""How soon the next step begins after the end of the one before it, in seconds, where the caller does not say."""
UNITS = {"s": 1, "m": 60, "h": 3600}
TEXT_OPTIONS = ("--not", "--then")
"""The options that take all words up to the next option."""
# A hyphen before a digit makes a number. Alone, -0 is an option of `search`.
SHELL_OPTION = re.compile(r"--?[^\W\d]|-0$")
LINE_OPTION = re.compile(r"--([^\W\d].*)?", re.DOTALL)
LINE_TOKEN = re.compile(r'"([^"]*)"(?!\S)|(\S+)')
NEGATION = re.compile(r"(?<![\w-])(but no|not|no|without)(?![\w-])", re.IGNORECASE)
EMPTY = f"The query is empty. Say what to look for: {search_command()}"
NO_WORDS = "--min-match judges words: give some, and no --like. --min-score works with pictures."
FIRST_WORDS = (
    "Say first what to look for, and then what not, or what comes next: dog on a beach --not people --then a car"
)


class Example(NamedTuple):
    """A picture, a video, or a moment of a video, to look for the like of.

    >>> from pathlib import Path
    >>> from vidfind import Example
    >>> Example(Path("trip.mp4"), time=83).time
    83
    """

    file: Path
    time: float | None = None
    """In seconds; None: all of the video."""


@dataclass(frozen=True)
class Expression:
    """The subject of a search. `Expression("a dog")` is the same as the words alone.

    >>> from vidfind import Example, Expression
    >>> beach = Expression("a dog on a beach", without=["people"], then=["a car"], within=30)
    >>> snow = Expression("in the snow", like=["rex.jpg", "trip.mp4@1:23"])
    """

    words: str = ""
    """Plain words for the thing to be seen. Nothing in them is an option or an operator."""
    without: Sequence[str] = ()
    """Words for things not to be seen. Each is made less likely, and not ruled out; said twice, it counts twice."""
    then: Sequence[str] = ()
    """Words for the steps that come next in the same video, one after the other."""
    like: Sequence[Example | str | os.PathLike[str]] = ()
    """Pictures and videos that the first step is like; a text may be `FILE@TIME`."""
    unlike: Sequence[Example | str | os.PathLike[str]] = ()
    """Pictures and videos that no step is like."""
    within: float | None = None
    """How soon each step begins after the end of the one before it, in seconds; None: WITHIN. 0: the next segment."""
    literal: bool = False
    """Whether the names of learned classes are words like others."""

    def __post_init__(self) -> None:
        """Makes tuples of all sequences, and examples of files. Raises BadInput for what makes no sense."""
        for name, make in (("without", str), ("then", str), ("like", _example), ("unlike", _example)):
            value = getattr(self, name)
            values = (value,) if isinstance(value, str | os.PathLike | Example) else value
            object.__setattr__(self, name, tuple(make(one) for one in values))
        for option, texts in (("--not", self.without), ("--then", self.then)):
            if not all(map(plain_words, texts)):
                raise BadInput(f"{option} needs words behind it.")
        if not (plain_words(self.words) or self.like):
            is_without_beginning = self.without or self.then or self.unlike
            raise BadInput(FIRST_WORDS if is_without_beginning else EMPTY)
        if self.within is not None and not self.then:
            raise BadInput("--within says how soon after one another: it needs --then.")
        if self.within is not None and not 0 <= self.within < float("inf"):
            raise BadInput(f"The time between two steps cannot be {self.within:g} seconds.")
        left_out = {plain_words(text).casefold() for text in self.without}
        for text in self.steps:
            if plain_words(text).casefold() in left_out:
                raise BadInput(f"{plain_words(text)!r} is both looked for and left out.")
        for example in self.likes:
            if example in self.unlikes:
                raise BadInput(f"'{example.file}' is both looked for and left out.")

    @property
    def steps(self) -> list[str]:
        """The words of each step in order; those of the first may be empty beside `like`."""
        return [self.words, *self.then]

    @property
    def likes(self) -> list[Example]:
        """The examples of `like`."""
        return [_example(one) for one in self.like]

    @property
    def unlikes(self) -> list[Example]:
        """The examples of `unlike`."""
        return [_example(one) for one in self.unlike]


def plain_words(text: str) -> str:
    """The words of a text with a space between; empty if nothing of it can be seen."""
    words = " ".join(text.encode("utf-8", "ignore").decode().split())  # without halves of characters
    return words if any(char.isprintable() and not char.isspace() for char in words) else ""


def query_words(query: str) -> str:
    """The words of a query with a space between. Raises BadInput if there are none."""
    if not (words := plain_words(query)):
        raise BadInput(EMPTY)
    return words


def parse_like(text: str) -> Example:
    """`FILE` or `FILE@TIME` as an example; TIME is `83`, `1:23`, `1:02:03.5`. The file need not exist.

    A file whose name has an `@` is taken as it is if it exists. Raises BadInput for what is not a time."""
    whole = Path(os.path.expanduser(text))
    name, at, time = text.rpartition("@")
    if not at or not name or whole.exists():
        return Example(whole)
    try:
        return Example(Path(os.path.expanduser(name)), parse_time(time))
    except ValueError as error:
        raise BadInput(f"{time!r} is not a time: write 83, 1:23 or 1:02:03 after the @.") from error


def parse_within(text: str) -> float:
    """`30s`, `45`, `1:30`, `2m` or `1h` in seconds. Raises BadInput for anything else."""
    number, unit = text.strip(), 1
    if number[-1:].lower() in UNITS:
        number, unit = number[:-1], UNITS[number[-1].lower()]
    try:
        return parse_time(number) * unit
    except ValueError as error:
        raise BadInput(f"{text!r} is not a time: write 30s, 45, 1:30 or 2m.") from error


class Token(NamedTuple):
    """A word of a command line or of a typed line, or several that were in quotes."""

    text: str
    is_option: bool = False


def shell_tokens(words: Sequence[str]) -> list[Token]:
    """The words of a command line as tokens. A shell has taken the quotes away; behind `--` there are no options."""
    end = words.index("--") if "--" in words else len(words)
    return [Token(word, n == end or (n < end and bool(SHELL_OPTION.match(word)))) for n, word in enumerate(words)]


def line_tokens(line: str) -> list[Token]:
    """The tokens of a line that somebody typed: options begin with `--` and a letter, all else are words.

    Double quotes count only where a token begins and one ends: `6"` and `Rex's` are words as they are."""
    tokens = []
    for quoted, word in LINE_TOKEN.findall(line):
        is_behind = Token("--", True) in tokens
        tokens.append(Token(word or quoted, not is_behind and bool(LINE_OPTION.fullmatch(word))))
    return tokens


def join_texts(tokens: Sequence[Token]) -> list[Token]:
    """The same tokens with the words behind each `--not` and `--then` joined to it, up to the next option.

    Raises BadInput if there are none."""
    joined: list[Token] = []
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        name, equals, text = token.text.partition("=")
        if token.is_option and name in TEXT_OPTIONS:
            texts = [text] if equals else []
            while rest and not rest[0].is_option:
                texts.append(rest.pop(0).text)
            if not (words := plain_words(" ".join(texts))):
                raise BadInput(f"{name} needs words behind it.")
            token = Token(f"{name}={words}", True)
        joined.append(token)
    return joined


def negation(words: str) -> str:
    """The first word of a query that a model takes no notice of, such as `without`; empty if there is none."""
    found = NEGATION.search(words)
    return found[0].lower() if found else ""


def _example(one: Example | str | os.PathLike[str]) -> Example:
    if isinstance(one, Example):
        return Example(Path(os.path.expanduser(one.file)), one.time)
    return parse_like(one) if isinstance(one, str) else Example(Path(os.path.expanduser(one)))
