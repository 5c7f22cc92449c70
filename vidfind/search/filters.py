"""Filters limit what a search may find, and dates are read from text.

Imports nothing heavy: the command line builds its filters before a model or an index is opened.
"""

from __future__ import annotations

import calendar
import os
import re
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from vidfind.errors import BadInput

LIMIT = 10
"""How many moments a search finds where the caller does not say."""


@dataclass(frozen=True)
class Filters:
    """Limits what a search may find. `Filters()` allows everything, with one moment of each video.

    >>> from datetime import date
    >>> from vidfind import Filters
    >>> holidays = Filters(folder="~/Videos", since=date(2024, 7, 1), until=date(2024, 8, 31))
    """

    folder: str | os.PathLike[str] | None = None
    """Only videos under this folder, or this one video. `~` stands for your home folder."""
    since: date | None = None
    """Only videos filmed on this day or later, in local time."""
    until: date | None = None
    """Only videos filmed on this day or earlier, in local time."""
    min_score: float = -1.0
    """Only moments with at least this score, a cosine from -1 to 1."""
    online: bool = False
    """Only videos whose files are there now; a share that does not answer at once is not there."""
    per_video: int = 1
    """At most this many moments of each video, 1 or more."""

    def __post_init__(self) -> None:
        """Raises BadInput for values that nothing can match."""
        if self.per_video < 1:
            raise BadInput("The number of moments of each video must be at least 1.")
        if self.since and self.until and self.since > self.until:
            raise BadInput(f"The first day, {self.since}, is later than the last day, {self.until}.")


NO_FILTERS = Filters()


class Period(NamedTuple):
    """A day, month or year by its first and last day."""

    first: date
    last: date


def parse_period(text: str) -> Period:
    """`2024`, `2024-05` or `2024-05-17` as a period. Raises BadInput."""
    try:
        if not re.fullmatch(r"\d{4}(-\d{1,2}){0,2}", text.strip()):
            raise ValueError
        year, *rest = map(int, text.split("-"))
        if len(rest) == 2:
            return Period(date(year, *rest), date(year, *rest))
        first, last = (rest[0], rest[0]) if rest else (1, 12)
        return Period(date(year, first, 1), date(year, last, calendar.monthrange(year, last)[1]))
    except ValueError as error:
        raise BadInput(f"{text!r} is not a date: write 2024, 2024-05 or 2024-05-17.") from error
