"""How far a run is can be read while it lasts."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.ran import Run
from tests.support.stored import on_disk
from vidfind.encoders.encoder import Encoder
from vidfind.index.run import index_videos
from vidfind.store.places.path import IndexPath
from vidfind.store.places.progress import RUN_FILE, read_run
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.system import paths


def test_a_run_notes_how_far_it_is(made: Path, place: IndexPath, tiny_encoder: Encoder) -> None:
    store = Store.create(place, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    seen = [read_run(store.path) for _ in index_videos([made], store, lambda: tiny_encoder)]
    totals = {state.total for state in seen if state}
    assert totals == {3}
    assert read_run(store.path) is None


def test_status_tells_of_a_run_under_way(run: Run, tiny_encoder: Encoder) -> None:
    store = Store.create(paths.index_path("default"), IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    assert "Running" not in run("status").out
    state = {"done": 3, "total": 7, "process": os.getpid()}
    (store.path / RUN_FILE).write_text(json.dumps(state))  # as an older version notes it
    out = run("status").out
    assert "3 of 7 videos done" in out and " left" not in out
    (store.path / RUN_FILE).write_text(json.dumps({**state, "seconds_left": 83.4}))
    assert "3 of 7 videos done, 1:23 left" in run("status").out
    assert json.loads(run("status", "--json").out)["run"] == {
        "done": 3,
        "total": 7,
        "seconds_left": 83.4,
        "nodes": 0,
    }


def test_status_tells_of_a_run_of_another_machine_while_it_is_noted(
    run: Run, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    store = Store.create(paths.index_path("default"), IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    file = store.path / RUN_FILE
    file.write_text(json.dumps({"done": 3, "total": 7, "process": 2**22 + 1, "machine": "nas", "nodes": 2}))
    assert "3 of 7 videos done on 2 nodes" in run("status").out
    os.utime(on_disk(file), (0, 0))
    assert "Running" not in run("status").out
