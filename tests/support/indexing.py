"""What tests of `index_videos` share: outcomes by the names of videos, and an encoder that must not be loaded."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import Event, Outcome


class Index(Protocol):
    """Indexes folders with fields of `IndexOptions`, and returns the outcome of each video by its name."""

    def __call__(
        self, *folders: Path, ignored: frozenset[Path] = frozenset(), **options: Any
    ) -> dict[str, Outcome]: ...


def outcomes_of(events: Iterable[Event]) -> dict[str, Outcome]:
    """The outcome of each video by its name."""
    return {event.path.name: event for event in events if isinstance(event, Outcome)}


def statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in outcomes.items()}


def never(choice: EncoderChoice | None = None) -> Encoder:
    raise AssertionError("the encoder is not needed here")
