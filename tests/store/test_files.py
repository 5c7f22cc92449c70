"""The videos of an index as columns give what their rows would."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.support.rows import make_row
from vidfind.store.files import StoredVideos
from vidfind.store.places.maps import keep_map
from vidfind.store.tables import TRY_AGAIN, VIDEOS, videos_to_table
from vidfind.system.files import VideoFile
from vidfind.system.mounts import Place

NAMES = ["/v/a.mp4", "/v/a b.mp4", "/v/a%20b.mp4", "/v/ab/é.mp4", "/v/a/b.mp4", "/v/ab.mp4", "/w/\udcff.mp4", "/v"]
ROWS = [
    dataclasses.replace(
        make_row(name, number, size=number, mtime_ns=number, folder=Path(name).parent),
        fingerprint=f"f{number}",
        place=Place(Path("/"), "x", "7"),
    )
    for number, name in enumerate(NAMES)
]


def test_each_video_is_found_by_its_path_and_its_number() -> None:
    stored = StoredVideos.of(ROWS)
    assert dict(stored) == {row.path: row for row in ROWS}
    assert [stored.number(row.path) for row in ROWS] == list(range(len(ROWS)))
    assert list(stored.rows([4, 1])) == [ROWS[4], ROWS[1]]
    assert list(stored.rows([])) == []
    assert stored.number(Path("/v/a%2520b.mp4")) is None
    assert Path("/v/none.mp4") not in stored


def test_the_columns_hold_the_values_of_the_rows() -> None:
    stored = StoredVideos.of(ROWS)
    assert list(stored.sizes) == [row.size for row in ROWS]
    assert list(stored.times) == [row.mtime_ns for row in ROWS]
    assert list(stored.contents) == [row.content for row in ROWS]
    assert list(stored.segments) == [row.segments for row in ROWS]
    assert list(stored.durations) == [row.duration for row in ROWS]
    assert stored.drives == [Place(Path("/"), "x")] * len(ROWS)
    assert [stored.folder_of(row.path) for row in ROWS] == [row.folder for row in ROWS]
    assert set(stored.folders()) == {row.folder for row in ROWS}
    assert [stored.fingerprint(number) for number in range(len(ROWS))] == [row.fingerprint for row in ROWS]


@pytest.mark.parametrize("folder", ["/", "/v", "/v/a", "/v/ab", "/v/a.mp4", "/v/a b", "/w", "/none"])
def test_videos_lie_under_a_folder_as_their_paths_say(folder: str) -> None:
    numbers = [number for number, row in enumerate(ROWS) if row.path.is_relative_to(folder)]
    assert StoredVideos.of(ROWS).under([Path(folder)]) == numbers
    assert StoredVideos.of(ROWS).under([Path(folder), Path("/none")], range(3)) == [one for one in numbers if one < 3]


def test_a_video_to_be_tried_again_looks_like_no_file() -> None:
    stored = StoredVideos.of([ROWS[0], make_row("/again.mp4", mtime_ns=TRY_AGAIN)])
    assert stored.looks_like(0, VideoFile(ROWS[0].path, ROWS[0].size, ROWS[0].mtime_ns))
    assert not stored.looks_like(0, VideoFile(ROWS[0].path, ROWS[0].size, 77))
    assert not stored.looks_like(1, VideoFile(Path("/again.mp4"), 1000, TRY_AGAIN))


def test_a_table_of_an_older_vidfind_names_no_drives() -> None:
    stored = StoredVideos(videos_to_table(ROWS).drop_columns(["mount", "volume", "file_id"]))
    assert stored.drives == [Place()] * len(ROWS)
    assert stored[ROWS[0].path].place == Place()


def test_of_two_videos_that_a_map_gives_one_path_the_last_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = videos_to_table([make_row("/nas/a.mp4"), make_row("/here/a.mp4", size=5), make_row("/nas/b.mp4")])
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    keep_map("/nas=/here")
    stored = StoredVideos(videos)
    assert sorted(stored) == [Path("/here/a.mp4"), Path("/here/b.mp4")]
    assert stored[Path("/here/a.mp4")].size == 5
    assert stored.number(Path("/nas/b.mp4")) is None
    assert stored.under([Path("/here")]) == [0, 1]


def test_values_that_are_missing_are_damage() -> None:
    values = {**videos_to_table(ROWS[:1]).to_pylist()[0], "mtime_ns": None}
    with pytest.raises(ValueError, match="videos without mtime_ns"):
        StoredVideos(VIDEOS.empty_table().from_pylist([values], VIDEOS))
