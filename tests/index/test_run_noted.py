"""How far a run is can be read while it lasts."""

from __future__ import annotations

from pathlib import Path

from vidfind.encoders.encoder import Encoder
from vidfind.index.run import index_videos
from vidfind.store.folder import read_run
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store


def test_a_run_notes_how_far_it_is(made: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    store = Store.create(tmp_path / "index", IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    seen = [read_run(store.path) for _ in index_videos([made], store, lambda: tiny_encoder)]
    totals = {state.total for state in seen if state}
    assert totals == {3}
    assert read_run(store.path) is None
