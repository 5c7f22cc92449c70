"""Removed videos: how long their vectors are kept, that nobody finds them, and that they can be deleted for good."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.rows import DIM, embed, make_row
from tests.support.stored import begin_again, compact, put
from vidfind.errors import BadInput
from vidfind.search.moments import search_moments
from vidfind.store import memory
from vidfind.store.edit import purge_videos, remove_videos
from vidfind.store.memory import KEPT_TIME, RemovedVideo, removed_file, still_kept
from vidfind.store.mending.health import check_index
from vidfind.store.settings import IndexSettings
from vidfind.store.status import index_status
from vidfind.store.store import Store

NOW = datetime.now(UTC)


@pytest.fixture
def filled(store: Store) -> Store:
    """An index of three videos of two segments each."""
    rows = [make_row(f"/videos/{name}.mp4") for name in ("a", "b", "c")]
    put(store, rows, [embed(row, seed) for seed, row in enumerate(rows)])
    return store


def found(store: Store) -> set[str]:
    vector = embed(make_row("/x")).vectors[0]
    return {moment.path.name for moment in search_moments(store, vector, limit=10)}


def test_the_vectors_of_a_removed_video_are_kept_and_no_search_finds_them(filled: Store) -> None:
    row = filled.videos()[Path("/videos/a.mp4")]
    remove_videos([row.path], filled)
    compact(filled, timedelta(milliseconds=1))
    [kept] = filled.removed().values()
    assert kept.row == row
    assert filled.tables.segments.count_rows() == 6
    assert found(filled) == {"b.mp4", "c.mp4"}
    assert [video.row.path for video in index_status(filled).removed] == [row.path]
    assert check_index(filled.path) == []


@pytest.mark.parametrize(
    ("age", "in_use", "segments", "kept"),
    [
        pytest.param(timedelta(days=29), [], 2, True, id="lately"),
        pytest.param(timedelta(days=31), [], 2, False, id="long ago"),
        pytest.param(timedelta(), [1], 2, False, id="in use again"),
        pytest.param(timedelta(), [], 1, False, id="not whole"),
    ],
)
def test_vectors_are_kept_for_a_month(age: timedelta, in_use: list[int], segments: int, kept: bool) -> None:
    video = RemovedVideo(make_row("/videos/a.mp4", content=1), NOW - age)
    assert list(still_kept({1: video}, in_use, {1: segments}, DIM)) == ([1] if kept else [])


def test_of_too_many_vectors_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEPT_BYTES", 2 * 2 * DIM * 2)
    rows = [make_row(f"/videos/{i}.mp4", content=i) for i in range(4)]
    removed = {row.content: RemovedVideo(row, NOW - timedelta(hours=row.content)) for row in rows}
    assert sorted(still_kept(removed, [], dict.fromkeys(range(4), 2), DIM)) == [0, 1]


def test_vectors_kept_for_long_enough_are_cleared(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_videos([Path("/videos/a.mp4")], filled)
    monkeypatch.setattr(memory, "KEPT_TIME", -KEPT_TIME)
    compact(filled)
    assert (filled.removed(), filled.tables.segments.count_rows()) == ({}, 4)
    assert not removed_file(filled.path, 0).exists()


def test_what_is_purged_leaves_nothing_on_disk(filled: Store) -> None:
    paths = [Path(f"/videos/{name}.mp4") for name in ("a", "b")]
    remove_videos(paths[:1], filled)
    assert [row.path for row in purge_videos([Path("/videos/a.mp4"), Path("/videos/b.mp4")], filled)] == paths
    assert (list(filled.videos()), filled.removed()) == ([Path("/videos/c.mp4")], {})
    assert [b"a.mp4" in file.read_bytes() for file in filled.path.rglob("*") if file.is_file()].count(True) == 0
    remove_videos([Path("/videos/c.mp4")], filled)
    assert [row.path.name for row in purge_videos(None, filled)] == ["c.mp4"]
    assert (filled.removed(), filled.tables.segments.count_rows()) == ({}, 0)
    with pytest.raises(BadInput, match="No video of the index"):
        purge_videos(paths, filled)


def test_a_removal_that_was_killed_loses_nothing(filled: Store) -> None:
    row = filled.videos()[Path("/videos/a.mp4")]
    with filled.writing() as writer:
        writer.set_aside([row])  # and then the process ends
    assert found(filled) == {"a.mp4", "b.mp4", "c.mp4"}
    compact(filled)
    assert filled.removed() == {}
    assert len(filled.videos()) == 3


def test_a_record_of_removed_videos_that_is_damaged_costs_their_vectors_alone(filled: Store) -> None:
    remove_videos([Path("/videos/a.mp4")], filled)
    removed_file(filled.path, 0).write_bytes(b"no table")
    assert filled.removed() == {}
    compact(filled)
    assert filled.tables.segments.count_rows() == 4


def test_an_index_that_was_emptied_keeps_its_vectors_unless_it_is_made_with_other_settings(filled: Store) -> None:
    remove_videos([Path("/videos")], filled)
    again = Store.create(filled.path, filled.settings, DIM)
    assert len(again.removed()) == 3
    other = IndexSettings(dataclasses.replace(filled.settings.identity, encoder="mean"))
    assert Store.create(filled.path, other, DIM).removed() == {}


def test_each_encoding_of_an_index_keeps_its_own_vectors(filled: Store) -> None:
    begun = begin_again(filled, "home")
    row = make_row("/videos/a.mp4")
    put(begun, [row], [embed(row)])
    remove_videos([Path("/videos/a.mp4")], filled)
    assert [kept.row.content for kept in begun.removed().values()] == [row.content]
    assert [kept.row.path for kept in filled.removed().values()] == [row.path]
    assert filled.removed().keys() != begun.removed().keys()
    with filled.writing() as writer:
        writer.give_up_unfinished()
    assert not removed_file(filled.path, 1).exists()
    assert len(filled.removed()) == 1
