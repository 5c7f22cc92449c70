"""The result types of a check: findings, problems and how to mend them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidfind.errors import VidfindError


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what mends it, for users."""

    text: str
    remedy: str


@dataclass(frozen=True)
class Found:
    """What there is to tell of a thing, and what is wrong with it."""

    facts: str
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Check:
    """`look` tells what there is. `mend` does what can be done about problems, a line for each thing it has done."""

    name: str
    look: Callable[[], Found]
    mend: Callable[[], list[str]] | None = None
    subject: str = ""
    """Which one it is about, where there are several."""


@dataclass(frozen=True)
class Finding:
    """What became of a check. `problems` are those that remain, `mended` what was done about others."""

    check: str
    subject: str
    facts: str
    problems: Sequence[Problem] = ()
    mended: Sequence[str] = ()


def say(error: Exception) -> str:
    if isinstance(error, VidfindError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"
