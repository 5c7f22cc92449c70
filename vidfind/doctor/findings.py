"""The result types of a check: findings, problems and how to mend them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidfind.errors import VidfindError


@dataclass(frozen=True)
class Problem:
    """A broken thing, and what mends it, in words for users."""

    text: str
    remedy: str


@dataclass(frozen=True)
class Found:
    """Facts about a thing that was examined, and its problems."""

    facts: str
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Check:
    """A check: `look` examines something; `mend` mends what it can, and yields a line for each thing it has done."""

    name: str
    look: Callable[[], Found]
    mend: Callable[[], list[str]] | None = None
    subject: str = ""
    """The name of the examined thing, if there are several of its kind."""


@dataclass(frozen=True)
class Finding:
    """The result of a check: the remaining `problems`, and in `mended` what was done about others."""

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
