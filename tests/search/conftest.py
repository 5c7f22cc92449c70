"""An index to search in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.texts import add_video
from vidfind.encoders.encoder import Encoder
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store


@pytest.fixture
def index(tmp_path: Path, tiny_encoder: Encoder) -> Path:
    """An index of the built-in model with one video."""
    path = tmp_path / "indexes" / "default"
    store = Store.create(path, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    add_video(store, "/v/a.mp4", tiny_encoder)
    return path
