"""A folder of small videos and an index for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.indexing import Index
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import Outcome
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.store.places.path import IndexPath
from vidfind.store.store import Store


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Path:
    """A folder of videos to change as a test likes."""
    return Path(shutil.copytree(made, tmp_path / "library"))


@pytest.fixture
def film_store(place: IndexPath, tiny_encoder: Encoder) -> Store:
    """An empty index for the tiny model's vectors."""
    store, _ = open_store(place, lambda choice: tiny_encoder, EncoderChoice())
    return store


@pytest.fixture
def index(film_store: Store, tiny_encoder: Encoder) -> Index:
    """Indexes folders, and gives the outcome of each video by its name."""

    def run(*folders: Path, ignored: frozenset[Path] = frozenset(), **options: Any) -> dict[str, Outcome]:
        events = list(index_videos(folders, film_store, lambda: tiny_encoder, IndexOptions(**options), ignored))
        return {event.path.name: event for event in events if isinstance(event, Outcome)}

    return run
