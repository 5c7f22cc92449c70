from __future__ import annotations

from pathlib import Path

import pytest

from vidfind.encoders.names import EncoderIdentity
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store

BOTH = ("test_edit", "test_labels", "test_memory", "test_select", "test_store")
"""The modules whose tests are of an index on disk, and with `-m ""` of one in object storage too."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "store" in metafunc.fixturenames and "store" not in own:
        s3 = [pytest.param("s3", marks=pytest.mark.soak)] if metafunc.module.__name__.endswith(BOTH) else []
        metafunc.parametrize("store", ["disk", *s3], indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty index of 16 numbers a vector."""
    place: IndexPath = tmp_path / "indexes" / "default"
    if request.param == "s3":
        place = request.getfixturevalue("remote")
    settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
    return Store.create(place, settings, dim=16)
