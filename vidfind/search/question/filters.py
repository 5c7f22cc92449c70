"""Filters limit what a search may find.

Imports nothing heavy: the command line builds its filters before a model or an index is opened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Literal

from vidfind.errors import BadInput

LIMIT = 10
"""How many moments a search finds where the caller does not say."""


Place = str | os.PathLike[str]


@dataclass(frozen=True)
class Filters:
    """Limits what a search may find. `Filters()` allows everything, with one moment of each video.

    >>> from datetime import date, time
    >>> from vidfind import Filters
    >>> holidays = Filters(folder="~/Videos", since=date(2024, 7, 1), until=date(2024, 8, 31))
    """

    folder: Place | Sequence[Place] | None = None
    """Only videos under this folder or one of these; a video stands for itself. `~` stands for your home folder, and
    `*`, `?`, `[abc]` and `**` are patterns where no folder has that very name."""
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
    exclude: Sequence[Place] = ()
    """No videos under these folders; a pattern without a separator, such as `Trash` or `*.gif`, fits names anywhere."""
    between: tuple[time, time] | None = None
    """Only moments filmed between these local times of day, over midnight where the first is later, as far as the date
    of the video tells."""
    tags: str | Sequence[str] = ()
    """Only moments that have all of these tags, whatever their case."""
    any_tags: str | Sequence[str] = ()
    """Only moments that have one of these tags, or more."""
    no_tags: str | Sequence[str] = ()
    """No moments that have one of these tags."""
    tags_from: Literal["user", "any"] = "any"
    """Whose tags count: those that the owner gave alone, or also automatic ones."""
    classes: str | Sequence[str] = ()
    """Only moments that show all of these learned classes, each like `pets:rex`."""
    copies: bool = False
    """Find each copy of a video as a result of its own; otherwise `Moment.copies` names the others."""
    min_match: int = 0
    """Only moments that match the words by at least so many percent, 0 to 100: see `Moment.match`."""
    collapse: bool = False
    """Find of moments that look alike only the best; `Moment.alike` names the others."""

    def __post_init__(self) -> None:
        """Raises BadInput for values that nothing can match."""
        if self.per_video < 1:
            raise BadInput("The number of moments of each video must be at least 1.")
        if self.since and self.until and self.since > self.until:
            raise BadInput(f"The first day, {self.since}, is later than the last day, {self.until}.")
        if not -1 <= self.min_score <= 1:
            raise BadInput(f"The least score, {self.min_score:g}, is out of range: scores lie between -1 and 1.")
        if not 0 <= self.min_match <= 100:
            raise BadInput(f"The least match, {self.min_match:g} %, is out of range: it lies between 0 and 100.")
        if "" in (*self.places, *self.excluded):
            raise BadInput("The name of a folder is empty. For the current folder, give a point.")
        if self.between and self.between[0] == self.between[1]:
            raise BadInput(f"Between {self.between[0]:%H:%M} and the same time lies nothing.")

        if self.tags_from not in ("user", "any"):
            raise BadInput(f"Tags are from the user or from any, not from {self.tags_from!r}.")
        if any(not name.strip() for name in self.tag_names):
            raise BadInput("A tag is empty.")

    @property
    def all_tags(self) -> list[str]:
        """The tags that a moment needs, all of them."""
        return _names(self.tags)

    @property
    def either_tag(self) -> list[str]:
        """The tags of which a moment needs one."""
        return _names(self.any_tags)

    @property
    def excluded_tags(self) -> list[str]:
        """The tags that no moment may have."""
        return _names(self.no_tags)

    @property
    def tag_names(self) -> list[str]:
        """All tags that are asked for, or excluded."""
        return [*self.all_tags, *self.either_tag, *self.excluded_tags]

    @property
    def class_names(self) -> list[str]:
        """The classes that a moment needs, all of them."""
        return _names(self.classes)

    @property
    def names_moments(self) -> bool:
        """Whether tags or classes say which moments are meant, so that no words are needed."""
        return bool(self.all_tags or self.either_tag or self.class_names)

    @property
    def places(self) -> list[str]:
        """The folders, videos and patterns of `folder`, as they were written."""
        one_or_more = [self.folder] if isinstance(self.folder, str | os.PathLike) else self.folder or []
        return [os.fspath(place) for place in one_or_more]

    @property
    def excluded(self) -> list[str]:
        """The folders, videos and patterns of `exclude`, as they were written."""
        return [os.fspath(place) for place in self.exclude]


def _names(names: str | Sequence[str]) -> list[str]:
    return [" ".join(name.split()) for name in ([names] if isinstance(names, str) else names)]


NO_FILTERS = Filters()
