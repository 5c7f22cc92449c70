"""Large collections; with the marker `soak` ten thousand files, a hundred thousand segments, hundreds of commits."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.rows import embed, make_row, unit_vectors
from tests.support.stored import compact, put, remove
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import Outcome
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.store.mending.health import check_index
from vidfind.store.status import index_status
from vidfind.store.store import Store

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

SEGMENTS_A_VIDEO = 20
VIDEOS_A_COMMIT = 25


def num_files(store: Store) -> Counter[str]:
    return Counter(file.parent.name for file in store.path.rglob("*") if file.is_file())


@pytest.mark.parametrize("commits", [100, pytest.param(200, marks=pytest.mark.soak)])
def test_the_segments_of_many_commits_lie_in_a_few_files(store: Store, commits: int) -> None:
    for commit in range(commits):
        rows = [make_row(f"/videos/{commit}-{i}.mp4", SEGMENTS_A_VIDEO) for i in range(VIDEOS_A_COMMIT)]
        put(store, rows, [embed(row, commit) for row in rows])
        if commit % 50 == 49:
            remove(store, [rows[0].path])
            compact(store, timedelta(milliseconds=1))
            assert sum(num_files(store).values()) < 20, num_files(store)
    assert len(store.videos()) == commits * VIDEOS_A_COMMIT - commits // 50
    assert index_status(store).segments == len(store.videos()) * SEGMENTS_A_VIDEO
    assert len(store.search(unit_vectors(1)[0], 100)) == 100
    assert check_index(store.path) == []


@pytest.fixture(params=[400, pytest.param(10_000, marks=pytest.mark.soak)])
def files(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def many(clips: Path, tmp_path: Path, files: int) -> Iterator[Path]:
    """A folder of many files, which are hard links to a few."""
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("one_frame.mp4", "short.mp4"):
        shutil.copy(clips / name, tmp_path / name)
        for number in range(files // 2):
            os.link(tmp_path / name, folder / f"{number:04}-{name}")
    yield folder
    shutil.rmtree(folder)


def test_many_files_are_encoded_once_and_only_looked_at_the_second_time(
    many: Path, files: int, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    loads: list[EncoderChoice] = []

    def load(choice: EncoderChoice) -> Encoder:
        loads.append(choice)
        return tiny_encoder

    def run() -> Counter[tuple[str, bool]]:
        store, encoder = open_store(tmp_path / "index", load, EncoderChoice(None if loads else "tiny"))
        events = [event for event in index_videos([many], store, encoder) if isinstance(event, Outcome)]
        return Counter((event.status, event.message.startswith("the same as")) for event in events)

    assert run() == {("new", False): 2, ("new", True): files - 2}
    assert run() == {("unchanged", False): files}
    assert len(loads) == 1  # the second time no encoder was loaded, and so nothing decoded
    assert check_index(tmp_path / "index") == []
