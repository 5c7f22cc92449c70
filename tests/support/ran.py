"""The type of the `run` fixture, and of what it returns."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ran:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs the program in this process: `run("search", "a dog", "-n", 3)`."""

    def __call__(self, *arguments: object) -> Ran: ...
