"""The moments to export, and how they are read from what `vidfind search --json` prints. Times are in seconds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from vidfind.commands import moments_command
from vidfind.errors import BadInput

EXACT = 6e-4
"""Times closer than this are equal: JSON has thousandths of a second."""


FROM_WHERE = f"Moments come from: {moments_command()}"


@dataclass(frozen=True)
class Wanted:
    """A part of a video, from `start` to `end` on the clock of moments, and what is known of it from the search."""

    path: Path
    start: float
    end: float
    query: str = ""
    score: float | None = None
    copies: tuple[Path, ...] = ()
    """Other files with the same contents, which serve where `path` is not there."""

    @property
    def present_path(self) -> Path:
        """The file, or the first of its copies that is there if the file is not."""
        return next((path for path in (self.path, *self.copies) if os.path.isfile(path)), self.path)


def read_wanted(lines: Iterable[bytes | str]) -> Iterator[Wanted]:
    """Yields the moments of lines of JSON. Raises BadInput that names the line for one that is no moment."""
    for number, line in enumerate(lines, start=1):
        text = line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line
        text = text.strip().removeprefix("\ufeff")
        if not text:
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"Line {number} of the input is no JSON. {FROM_WHERE}") from error
        try:
            yield _wanted(values)
        except ValueError as error:
            raise BadInput(f"Line {number} of the input {error}. {FROM_WHERE}") from error


def _wanted(values: Any) -> Wanted:
    """Raises ValueError with the end of a sentence that says what is wrong."""
    if not isinstance(values, dict):
        raise ValueError("is no object with a path, a start and an end")
    path = values.get("path")
    if not isinstance(path, str) or not _can_be_path(path):
        raise ValueError("has no path of a video")
    start, end = (_seconds(values, name) for name in ("start", "end"))
    if end <= start:
        raise ValueError(f"ends, at {end:g} s, before it begins, at {start:g} s")
    query, score, copies = values.get("query"), values.get("score"), values.get("copies")
    return Wanted(
        Path(path),
        start,
        end,
        query if isinstance(query, str) else "",
        float(score) if _is_number(score) else None,
        tuple(Path(one) for one in copies if isinstance(one, str) and _can_be_path(one))
        if isinstance(copies, list)
        else (),
    )


def _seconds(values: dict[str, Any], name: str) -> float:
    value = values.get(name)
    if not _is_number(value) or value < 0:
        raise ValueError(f"has no {name} in seconds")
    return float(value)


def _can_be_path(text: str) -> bool:
    try:
        return bool(os.fsencode(text)) and "\0" not in text
    except UnicodeError:  # half of a character
        return False


def _is_number(value: Any) -> TypeGuard[float]:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all others
        return False
