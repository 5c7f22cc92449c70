from __future__ import annotations

from pathlib import Path

import pytest

from vidfind.encoders.names import EncoderIdentity
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.soak)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty index of 16 numbers a vector, on disk, and with `-m ""` in object storage too."""
    place: IndexPath = tmp_path / "indexes" / "default"
    if request.param == "s3":
        place = request.getfixturevalue("remote")
    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    return Store.create(place, settings, dim=16)
