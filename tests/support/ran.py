"""What the `run` fixture returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str
