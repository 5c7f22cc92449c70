from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.ran import Run
from tests.support.rows import DIM, embed, make_row, unit_vectors
from tests.support.stored import compact, put, remove
from vidfind.store import nearest
from vidfind.store.mending.health import check_index
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow

SEGMENTS = 30


@pytest.fixture
def large(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An index that is large enough for an approximate one: what is large, is said to be little here."""
    monkeypatch.setattr(nearest, "INDEXED_ROWS", 500)
    monkeypatch.setattr(nearest, "ROWS_A_PART", 100)
    add(store, 20)
    compact(store)
    return store


def add(store: Store, videos: int, seed: int = 0) -> list[VideoRow]:
    rows = [make_row(f"/videos/{seed}-{i}.mp4", SEGMENTS) for i in range(videos)]
    put(store, rows, [embed(row, seed + i) for i, row in enumerate(rows)])
    return rows


def approximate_indexes(store: Store) -> list[str]:
    return [index.name for index in store.tables.segments.list_indices() if index.name.startswith("vector")]


def assert_hits_are_exact(store: Store) -> None:
    everything = np.concatenate([vectors for _, _, vectors in store.segments()])
    for query in unit_vectors(20, seed=99):
        expected = np.sort(everything @ query)[::-1][:20]
        assert [hit.score for hit in store.search(query, 20)] == pytest.approx(expected, abs=2e-3)


def test_a_small_index_is_searched_exactly_and_has_no_approximate_one(store: Store) -> None:
    add(store, 3)
    compact(store)
    assert list(store.tables.segments.list_indices()) == []
    assert_hits_are_exact(store)


def test_a_large_index_gets_an_approximate_one_which_finds_the_same(large: Store) -> None:
    assert approximate_indexes(large) == ["vector_600"]
    assert_hits_are_exact(large)


def test_what_is_added_later_is_found_before_and_after_it_is_folded_in(large: Store) -> None:
    add(large, 3, seed=50)
    assert_hits_are_exact(large)
    compact(large)
    statistics = large.tables.segments.index_stats("vector_600")
    assert statistics and statistics.num_unindexed_rows == 0
    assert_hits_are_exact(large)


def test_an_index_that_has_grown_several_fold_is_trained_again(large: Store) -> None:
    add(large, 50, seed=100)
    compact(large)
    assert approximate_indexes(large) == ["vector_2100"]
    assert_hits_are_exact(large)


def test_a_run_that_was_killed_between_the_new_index_and_the_old_leaves_nothing_for_long(large: Store) -> None:
    large.tables.segments.create_index("vector", config=nearest.approximate(400), replace=True, name="vector_100")
    assert_hits_are_exact(large)
    compact(large)
    assert approximate_indexes(large) == ["vector_600"]


def test_all_segments_are_given_when_more_are_asked_for(large: Store) -> None:
    assert len(large.search(unit_vectors(1)[0], 601)) == 600


def test_what_was_removed_is_not_found(large: Store) -> None:
    query = unit_vectors(1, seed=99)[0]
    best = large.search(query, 1)[0].content
    remove(large, [row.path for row in large.videos().values() if row.content == best])
    compact(large)
    assert best not in {hit.content for hit in large.search(query, 600)}
    assert_hits_are_exact(large)


def test_an_approximate_index_cut_short_is_found_and_mended(large: Store) -> None:
    for file in (large.path / "segments.lance" / "_indices").rglob("*.*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert ["index" in problem.text for problem in check_index(large.path)] == [True]
    from vidfind.store.mending.health import mend_index

    assert mend_index(large.path)
    assert check_index(large.path) == []
    assert_hits_are_exact(Store.open(large.path))


def test_few_segments_beside_an_approximate_index_may_be_asked_for_by_content(large: Store) -> None:
    row = make_row("/videos/one.mp4", 2)
    put(large, [row], [Embedded(row.content, [(0.0, 1.0), (1.0, 2.0)], np.eye(2, DIM))])
    assert {hit.content for hit in large.search(unit_vectors(1)[0], 20, [row.content])} == {row.content}


def test_a_run_says_that_it_makes_the_approximate_index_when_it_does(
    run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "INDEXED_ROWS", 1)
    said = [run("index", clips / "h264.mp4", "--model", "tiny", "--device", "cpu").err for _ in range(2)]
    assert ["Preparing quick searches" in text for text in said] == [True, False]
