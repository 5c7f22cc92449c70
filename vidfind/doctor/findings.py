"""The result types of a check: findings, problems and how to mend them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidfind.commands import mend_command
from vidfind.errors import Problem, VidfindError


@dataclass(frozen=True)
class Found:
    """Facts about a thing that was examined, and its problems."""

    facts: str
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Check:
    """A check: `look` examines something and finds its problems."""

    name: str
    look: Callable[[], Found]
    subject: str = ""
    """The name of the examined thing, if there are several of its kind."""
    mend: Callable[[], list[str]] | None = None
    """Mends all problems that can be mended, and returns a line for each; None: they are mended one by one."""


@dataclass(frozen=True)
class Finding:
    """The result of a check: the remaining `problems`, and in `mended` what was done about others."""

    check: str
    subject: str
    facts: str
    problems: Sequence[Problem] = ()
    mended: Sequence[str] = ()


def advice(problem: Problem) -> str:
    """The remedy for a problem, for its user; empty if that is not known."""
    return f"{mend_command()}: {problem.remedy}" if problem.mend else problem.remedy


def say(error: Exception) -> str:
    if isinstance(error, VidfindError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"
