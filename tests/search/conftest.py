"""An index to search in words."""

from __future__ import annotations

import pytest

from tests.support.texts import add_video
from vidfind.encoders.encoder import Encoder
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store


@pytest.fixture
def index(place: IndexPath, tiny_encoder: Encoder) -> IndexPath:
    """An index of the built-in model with one video."""
    store = Store.create(place, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    add_video(store, "/v/a.mp4", tiny_encoder)
    return place
