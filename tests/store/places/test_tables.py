"""Tables of an index in object storage: encoded again, read from copies, damaged and mended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.page import first_result, make_index, opened_page
from tests.support.rows import DIM, contents_found, embed, make_row, unit_vectors
from tests.support.stored import begin_again, compact, put
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.store import nearest
from vidfind.store.folder import delete_index
from vidfind.store.mending.health import check_index, mend_index
from vidfind.store.places import copies, lease
from vidfind.store.places.path import FileStatus, RemotePath, machine_folder
from vidfind.store.places.progress import RUN_FILE, RunState, noting_run, read_run
from vidfind.store.settings import NEXT_FILE, IndexSettings, write_generation
from vidfind.store.status import index_status
from vidfind.store.store import Embedded, Store
from vidfind.words.levels import read_levels, update_levels

SETTINGS = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))


@pytest.fixture
def index(remote: RemotePath) -> Store:
    """An index with one video."""
    store, row = Store.create(remote, SETTINGS, DIM), make_row("a.mp4")
    put(store, [row], [embed(row)])
    return store


def test_an_index_is_encoded_again_and_switched_also_where_that_was_killed_half_way(index: Store) -> None:
    begun, row = begin_again(index, "home"), make_row("a.mp4")
    put(begun, [row], [embed(row)])
    assert Store.open(index.path).settings.identity.adapter is None
    with begun.writing() as writer:
        writer.finish()
    switched = Store.open(index.path)
    assert (switched.settings.identity.adapter, switched.videos()) == ("home", {row.path: row})

    write_generation(index.path, switched.generation, NEXT_FILE)  # as after a kill between copy and deletion
    assert switched.unfinished() is None
    with switched.writing() as writer:
        writer.give_up_unfinished()
    assert Store.open(index.path).videos() == {row.path: row}


def test_a_copy_follows_the_tables_and_fetches_only_what_is_new(index: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "LOOK_EVERY", 0.0)
    copied = Store.open(index.path, copied=True)
    assert copied.videos() == index.videos()
    fetched: list[str] = []
    fetch = copies.TableCopy._fetch_file

    def noting(copy: copies.TableCopy, name: str, original: FileStatus | None) -> None:
        fetched.append(name)
        fetch(copy, name, original)

    monkeypatch.setattr(copies.TableCopy, "_fetch_file", noting)
    assert Store.open(index.path, copied=True).videos() == index.videos()
    assert fetched == []
    row = make_row("b.mp4")
    put(index, [row], [embed(row)])
    assert copied.videos() == index.videos()
    assert copied.count_segments() == index.count_segments()
    assert fetched
    assert row.content in contents_found(copied)


def test_a_damaged_table_is_mended(index: Store) -> None:
    [data] = (index.path / "segments.lance" / "data").iterdir()
    data.write_bytes(b"damaged")
    assert check_index(index.path)
    assert mend_index(index.path)
    assert not check_index(index.path)


def test_a_copy_follows_an_index_that_another_machine_has_made_anew(index: Store, tmp_path: Path) -> None:
    assert contents_found(Store.open(index.path, copied=True))
    ours, kept = machine_folder(index.path), tmp_path / "kept"
    ours.rename(kept)
    time.sleep(1)  # in whole seconds, as S3 tells the times of files
    delete_index(index.path)
    store, row = Store.create(index.path, SETTINGS, DIM), make_row("c.mp4")
    put(store, [row], [embed(row)])
    kept.rename(ours)  # the copies of this machine, which does not know that the index was deleted
    assert Store.open(index.path, copied=True).videos() == {row.path: row}
    assert contents_found(Store.open(index.path, copied=True)) == {row.content}


def test_a_large_index_is_searched_approximately_where_it_is_and_from_copies(
    index: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "INDEXED_ROWS", 500)
    monkeypatch.setattr(nearest, "ROWS_A_PART", 100)
    rows = [make_row(f"{number}.mp4", segments=300) for number in range(2)]
    put(index, rows, [embed(row, seed) for seed, row in enumerate(rows)])
    compact(index)
    vectors = np.concatenate([vectors for _, _, vectors in index.segments()])
    for store in (Store.open(index.path), Store.open(index.path, copied=True)):
        assert any(one.name.startswith("vector") for one in store.tables.segments.list_indices())
        for query in unit_vectors(5, seed=9):
            best = np.sort(vectors @ query)[::-1][:10]
            assert [hit.score for hit in store.search(query, 10)] == pytest.approx(best, abs=2e-3)


def test_the_progress_of_a_run_is_read_from_other_machines_while_it_lasts(
    index: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_TIME", 0.1)
    assert index_status(index).run is None
    with index.writing(), noting_run(index.path, 7) as note:
        run = json.loads((index.path / RUN_FILE).read_text())
        (index.path / RUN_FILE).write_text(json.dumps({**run, "process": 999999999}))  # of another machine
        assert read_run(index.path) == RunState(0, 7)
        note(1, None, 0)  # too soon
        assert read_run(index.path) == RunState(0, 7)
        note(2, 9.5, 3)
        assert read_run(index.path) == RunState(2, 7, 9.5, nodes=3)
    (index.path / RUN_FILE).write_text(json.dumps(run))  # as a run that was killed leaves it
    assert read_run(index.path) is None


def test_levels_of_words_are_kept_with_the_index(remote: RemotePath, tiny_encoder: Encoder) -> None:
    store = Store.create(remote, IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    vectors = tiny_encoder.encode_text([f"a star and {number} circles" for number in range(24)]).numpy()
    row = make_row("a.mp4", segments=24)
    spans = [(10.0 * number, 10.0 * number + 10) for number in range(24)]
    put(store, [row], [Embedded(row.content, spans, vectors)])
    update_levels(store, tiny_encoder)
    assert read_levels(remote, store.generation) is not None
    delete_index(remote)
    assert remote.sizes() == {}


def test_the_page_shows_what_is_found_in_object_storage(
    remote: RemotePath, clips: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    make_index(remote, tiny_encoder, {clips / "long.mp4": "a blue star"})
    with opened_page(remote, tmp_path, tiny_encoder) as page:
        first = first_result(page, "a blue star")
        assert first["name"] == "long.mp4"
        assert page.get("api/status").json()["index"] == remote.name
