"""The events that indexing yields, for screens and tests, and the summary of a run that is made from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from vidfind.encoders.stream import Progress
from vidfind.folders.walk import Survey
from vidfind.index.plan import Status


@dataclass(frozen=True)
class Outcome:
    """The result for one video. Its fields decide; `message` and `damage` are sentences for the user alone."""

    path: Path
    status: Status
    segments: int = 0
    seconds: float = 0.0
    """Length of the video."""
    message: str = ""
    """Why the video failed or was removed, where it was moved from, or of which other video it is a copy."""
    damage: str = ""
    """The part of an indexed video that cannot be read."""
    time_error: float | None = None
    """The largest distance in seconds of a frame taken from the time wanted; None if no frame was taken in this run."""
    same_as: Path | None = None
    """The video with the same contents whose vectors this one shares, or whose failure."""
    is_taken_back: bool = False
    """Whether a new or changed video was encoded before it was removed, and its vectors were kept."""
    copied_from: Path | None = None
    """The folder of `same_as` if that is not there now: this may be a backup, or the folder may have been moved."""
    was_tried_before: bool = False
    """Whether an earlier run failed with this video: it has not changed since, and was not tried again."""
    is_asked_for: bool = False
    """Whether the user has just named this very file: its failure then counts, though it is not the first."""

    @property
    def is_copy(self) -> bool:
        """Whether the contents of a new or changed video were known already: nothing was encoded."""
        return self.status in ("new", "changed") and self.same_as is not None

    @property
    def is_news(self) -> bool:
        """Whether this run has found out something about the video."""
        return self.status != "unchanged" and (self.is_asked_for or not self.was_tried_before)


@dataclass(frozen=True)
class Offline:
    """Videos that are kept in the index although they cannot be looked at now: their folder is not there."""

    folder: Path
    videos: int
    missing: Path | None = field(default=None, compare=False)
    """The folder or video that holds all of these, and no other video of the index; None if there is none such."""


@dataclass(frozen=True)
class Vanished:
    """Videos that were to be encoded, but their folder went away meanwhile."""

    folder: Path
    videos: int


@dataclass(frozen=True)
class NotRemoved:
    """So many videos that are gone, or left out, stay in the index: nobody has confirmed their removal."""

    videos: int


@dataclass(frozen=True)
class Cost:
    """The work of encoding videos again: `footage` in seconds of it; `elapsed` is about how long, where known."""

    videos: int
    footage: float
    elapsed: float | None


@dataclass(frozen=True)
class Reencoding:
    """The indexed videos are encoded again with another adapter; searches use the old vectors until it is done."""

    adapter: str | None
    cost: Cost


@dataclass(frozen=True)
class Switched:
    """Everything has been encoded again, and searches use the new vectors from now on."""

    adapter: str | None


@dataclass(frozen=True)
class Waiting:
    """The videos that could be encoded again have been, but searches go on with the old vectors: some folders are
    not there now.

    `command` goes on when they are."""

    adapter: str | None
    offline: list[Offline]
    command: str


@dataclass(frozen=True)
class Arranging:
    """The approximate index that large collections are searched by is made next: for a million
    segments, that takes most of a minute."""

    segments: int


Event = Outcome | Survey | Progress | Offline | Vanished | NotRemoved | Reencoding | Switched | Waiting | Arranging


@dataclass
class IndexSummary:
    """Counts of a run, made from its events, and what needs the user's attention. Times are in seconds."""

    counts: Counter[Status] = field(default_factory=Counter)
    footage: float = 0.0
    """Length of the new and changed videos that were encoded."""
    elapsed: float = 0.0
    """Duration of the run; whoever runs it measures it."""
    copies: int = 0
    taken_back: int = 0
    """Number of videos whose kept vectors were taken back: nothing was encoded."""
    copied_from: Counter[Path] = field(default_factory=Counter)
    """Number of copies of videos whose folder is not there now, by that folder."""
    failed: list[Outcome] = field(default_factory=list)
    damaged: list[Outcome] = field(default_factory=list)
    offline: list[Offline] = field(default_factory=list)
    vanished: list[Vanished] = field(default_factory=list)
    not_removed: int = 0
    """Number of videos that would have been removed, had that been confirmed."""
    survey: Survey | None = None
    """The findings of the look through the folders."""
    ending: Switched | Waiting | None = None
    """How encoding all of the index again ended, if that was done."""

    @property
    def missed(self) -> int:
        """Number of videos that should be in the index, or be encoded again, and are not, or that should not be in the
        index any more, and are. Exit code 3 if any.

        Those that failed in an earlier run and have not changed since are no news, and do not count, unless they were
        named themselves."""
        waiting = self.ending.offline if isinstance(self.ending, Waiting) else []
        failed = sum(outcome.is_news for outcome in self.failed)
        away = sum(one.videos for one in self.vanished) + sum(one.videos for one in waiting)
        return failed + away + self.not_removed

    def add(self, event: Event) -> None:
        """Counts an event; those of no lasting interest, such as Progress, change nothing."""
        if isinstance(event, Outcome):
            self._add_outcome(event)
        elif isinstance(event, Offline):
            self.offline.append(event)
        elif isinstance(event, NotRemoved):
            self.not_removed += event.videos
        elif isinstance(event, Vanished):
            self.vanished.append(event)
        elif isinstance(event, Survey):
            self.survey = event
        elif isinstance(event, Switched | Waiting):
            self.ending = event

    def _add_outcome(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        if outcome.status == "failed":
            self.failed.append(outcome)
        elif outcome.is_taken_back:
            self.taken_back += 1
        elif outcome.is_copy:
            self.copies += 1
            if outcome.copied_from:
                self.copied_from[outcome.copied_from] += 1
        elif outcome.status in ("new", "changed"):
            self.footage += outcome.seconds
            if outcome.damage:
                self.damaged.append(outcome)
