"""Filters limit what a search may find.

Imports nothing heavy: the command line builds its filters before a model or an index is opened.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date

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
