"""The types of the fixtures `run` and `new_place`, and of what `run` returns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from vidfind.store.places.path import IndexPath

NewPlace: TypeAlias = Callable[[Path], IndexPath]
"""Returns the place for a new index: in a folder, or in object storage."""


@dataclass(frozen=True)
class Ran:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs the program in this process: `run("search", "a dog", "-n", 3)`."""

    def __call__(self, *arguments: object) -> Ran: ...
