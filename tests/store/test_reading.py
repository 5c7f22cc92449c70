"""Tables read through the compiled half of LanceDB alone, against the same tables read through the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.rows import embed, make_row, unit_vectors
from tests.support.stored import put
from vidfind.store import nearest as nearest_module
from vidfind.store.nearest import nearest
from vidfind.store.places import reading
from vidfind.store.places.reading import TableReader
from vidfind.store.store import Store
from vidfind.system import imports

READS: dict[str, Callable[[Any], Any]] = {
    "columns": lambda table: table.schema,
    "version": lambda table: table.version,
    "number of rows": lambda table: table.count_rows(),
    "number of some rows": lambda table: table.count_rows("start > 5"),
    "all rows": lambda table: table.to_arrow(),
    "some rows": lambda table: table.search().where("start > 5").to_arrow(),
    "no rows": lambda table: table.search().where("start < 0").select(["start"]).to_arrow(),
    "some columns": lambda table: table.search().select(["end", "content"]).to_arrow(),
    "rows by place": lambda table: table.take_offsets([1, 50, 599]).select(["vector"]).to_arrow(),
    "batches": lambda table: [*table.search().select(["start"]).to_batches(256)],
    "nearest": lambda table: nearest(table, unit_vectors(1)[0], 20),
    "nearest, exactly": lambda table: nearest(table, unit_vectors(1)[0], 3000),
    "nearest of some": lambda table: nearest(table, unit_vectors(1)[0], 20, contents(table)[:3]),
}


def contents(table: Any) -> list[Any]:
    return sorted(set(table.search().select(["content"]).to_arrow()["content"].to_pylist()))


@pytest.fixture
def large(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An index with an approximate index of its 600 segments, and a few that came later."""
    monkeypatch.setattr(nearest_module, "INDEXED_ROWS", 500)
    rows = [make_row(f"/v/{number}.mp4", 60) for number in range(10)]
    put(store, rows, [embed(row, seed) for seed, row in enumerate(rows)])
    with store.writing() as writer:
        writer.compact()
    late = make_row("/v/late.mp4", 3)
    put(store, [late], [embed(late, 99)])
    return store


def test_the_compiled_half_reads_what_the_package_reads(large: Store) -> None:
    reader = large.tables.segments
    for name, read in READS.items():
        ours, theirs = read(reader), read(reader.whole)
        if isinstance(ours, pa.Schema | pa.Table):
            assert ours.equals(theirs), name
        else:
            assert ours == theirs, name
    assert reader._half is not None  # it did read all of that


def test_the_package_reads_where_the_compiled_half_fails(large: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = large.tables.segments
    hits = large.search(unit_vectors(1)[0], 20)
    monkeypatch.setitem(reading.IN_HALF, "select", "a name of another version")
    assert large.search(unit_vectors(1)[0], 20) == hits
    assert reader._half is None
    assert large.search(unit_vectors(1)[0], 20) == hits


def test_the_package_reads_where_its_version_is_not_known(large: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "READABLE", "0.39.")
    again = Store.open(large.path)
    assert again.tables.segments._half is None
    for stored, same in zip(large.segments(), again.segments(), strict=True):
        np.testing.assert_array_equal(stored[2], same[2])


def test_commits_of_others_are_seen_at_once(store: Store) -> None:
    other = Store.open(store.path)
    row = make_row("/v/new.mp4")
    before = store.version()
    put(other, [row], [embed(row)])
    assert store.count_segments() == 2
    assert store.version() > before
    assert isinstance(store.tables.videos, TableReader)
    assert store.tables.videos._half is not None


def test_columns_are_read_again_after_each_commit(store: Store) -> None:
    other = Store.open(store.path)
    row = make_row("/v/new.mp4")
    assert store.columns("path", "content").num_rows == 0
    put(other, [row], [embed(row)])
    known = store.columns("path", "content")
    assert known["content"].to_pylist() == [row.content]
    assert store.columns("path", "content") is known
    assert store.columns("path").column_names == ["path"]
    with other.writing() as writer:
        writer.remove([row.path])
    assert store.columns("path", "content").num_rows == 0
