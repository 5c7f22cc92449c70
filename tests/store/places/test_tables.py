"""Tables of an index in object storage: encoded again, read from copies, damaged and mended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.rows import DIM, contents_found, embed, make_row
from tests.support.stored import begin_again, put
from vidfind.encoders.names import EncoderIdentity
from vidfind.store.folder import delete_index
from vidfind.store.health import check_index, mend_index
from vidfind.store.places import copies
from vidfind.store.places.path import FileStatus, RemotePath, machine_folder
from vidfind.store.settings import NEXT_FILE, IndexSettings, write_generation
from vidfind.store.store import Store

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
