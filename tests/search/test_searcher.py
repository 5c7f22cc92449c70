"""A searcher while its index changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.texts import add_video, refuse
from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput, IndexNotFound
from vidfind.search.searcher import Searcher
from vidfind.store.folder import delete_index
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store


def test_a_searcher_sees_what_another_process_adds(index: Path, tiny_encoder: Encoder) -> None:
    searcher = Searcher(index, refuse)
    assert [moment.path.name for moment in searcher.find("a red circle")] == ["a.mp4"]
    add_video(Store.open(index), "/v/b.mp4", tiny_encoder)
    assert {moment.path.name for moment in searcher.find("a red circle")} == {"a.mp4", "b.mp4"}


def test_a_searcher_sees_that_an_index_was_deleted_and_made_anew(index: Path, tiny_encoder: Encoder) -> None:
    searcher = Searcher(index, refuse)
    searcher.prepare()
    delete_index(index)
    with pytest.raises(IndexNotFound):
        searcher.find("a red circle")
    add_video(Store.create(index, IndexSettings(tiny_encoder.identity), tiny_encoder.dim), "/v/new.mp4", tiny_encoder)
    assert [moment.path.name for moment in searcher.find("a red circle")] == ["new.mp4"]


def test_an_index_without_videos_says_what_to_type(tmp_path: Path, tiny_encoder: Encoder) -> None:
    Store.create(tmp_path / "default", IndexSettings(tiny_encoder.identity), tiny_encoder.dim)
    with pytest.raises(BadInput, match=r"holds no videos yet\. Add some: vidfind index FOLDER"):
        Searcher(tmp_path / "default", refuse).find("a red circle")
