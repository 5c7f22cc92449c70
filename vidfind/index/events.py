"""The events that indexing yields, for screens and tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidfind.index.plan import Status

SAME = "the same as "
NOT_TRIED_AGAIN = "(not tried again: it has not changed since)"


@dataclass(frozen=True)
class Outcome:
    """What became of one video. `seconds` is its length; `message` says why it failed, or where it was moved from;
    `damage` what could not be read of a video that is indexed; `off` how far, at most, frames taken of it lie from the
    times wanted, in seconds, where keyframes were taken instead, and None if none was taken in this run."""

    path: Path
    status: Status
    segments: int = 0
    seconds: float = 0.0
    message: str = ""
    damage: str = ""
    off: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether the content of a new or changed video was known already: it has not been encoded."""
        return self.status in ("new", "changed") and self.message.startswith(SAME)

    @property
    def is_news(self) -> bool:
        """Whether this run has found something out about the video."""
        return self.status != "unchanged" and not self.message.endswith(NOT_TRIED_AGAIN)


@dataclass(frozen=True)
class Progress:
    """How far the encoding is. `path` is the video at work; `total_seconds` is an estimate until all are opened."""

    path: Path
    done_seconds: float
    total_seconds: float
    done_files: int
    total_files: int


@dataclass(frozen=True)
class Offline:
    """Videos that are kept in the index although they cannot be looked at now: their folder is not there."""

    folder: Path
    videos: int


@dataclass(frozen=True)
class Vanished:
    """Videos that were to be encoded, but their folder went away meanwhile."""

    folder: Path
    videos: int


@dataclass(frozen=True)
class Cost:
    """What encoding videos again takes: `footage` in seconds of it; `elapsed` is about how long, where known."""

    videos: int
    footage: float
    elapsed: float | None


@dataclass(frozen=True)
class Reencoding:
    """What was indexed is encoded again with another adapter; searches use the old vectors until it is done."""

    adapter: str | None
    cost: Cost


@dataclass(frozen=True)
class Switched:
    """Everything has been encoded again, and searches use the new vectors from now on."""

    adapter: str | None


@dataclass(frozen=True)
class Waiting:
    """What could be encoded again has been, but searches go on with the old vectors: some folders are not there now.

    `command` goes on when they are."""

    adapter: str | None
    offline: list[Offline]
    command: str


@dataclass(frozen=True)
class Arranging:
    """What large collections are searched by is made next: for a million segments, that takes most of a minute."""

    segments: int


Event = Outcome | Progress | Offline | Vanished | Reencoding | Switched | Waiting | Arranging
