"""Tags stay with the files that they were given to, whatever happens to these."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.indexing import Index
from vidfind.store.edit import purge_videos, relink_videos, remove_videos
from vidfind.store.store import Store
from vidfind.tagging.edit import add_labels, tag_label


@pytest.fixture
def library(library: Path) -> Path:
    """Two videos of the folder of all."""
    for path in sorted(path for path in library.rglob("*") if path.is_file())[2:]:
        path.unlink()
    return library


def tagged(store: Store) -> list[str]:
    """The names of the videos that are tagged, with their tags: of copies all."""
    videos = {label.video: [] for label in store.labels("tag")}  # type: dict[str, list[str]]
    for label in store.labels("tag"):
        videos[label.video].append(label.name)
    return sorted(
        f"{row.path.name} {','.join(videos[row.fingerprint])}"
        for row in store.videos().values()
        if row.fingerprint in videos
    )


def test_tags_stay_with_files_that_are_moved_copied_encoded_again_or_away_for_a_while(
    library: Path, index: Index, film_store: Store, tmp_path: Path
) -> None:
    index(library)
    first = min(library.glob("*.mp4"))
    row = film_store.videos()[first]
    add_labels(film_store, [tag_label(row, "dog", 1)])
    assert tagged(film_store) == [f"{first.name} dog"]

    moved = first.rename(library / "moved.mp4")
    index(library)
    assert tagged(film_store) == ["moved.mp4 dog"]

    index(library, force=True)
    assert film_store.videos()[moved].content != row.content
    assert tagged(film_store) == ["moved.mp4 dog"]

    copy = Path(shutil.copy(moved, library / "copy.mp4"))
    index(library)
    assert tagged(film_store) == ["copy.mp4 dog", "moved.mp4 dog"]

    copy.unlink()
    away = moved.rename(tmp_path / "away.mp4")
    index(library)
    assert tagged(film_store) == []
    away.rename(moved)
    index(library)
    assert tagged(film_store) == ["moved.mp4 dog"]

    relink_videos(library, tmp_path / "elsewhere", film_store)
    library.rename(tmp_path / "elsewhere")
    assert tagged(film_store) == ["moved.mp4 dog"]


def test_a_file_that_is_changed_where_it_lies_keeps_its_tags(library: Path, index: Index, film_store: Store) -> None:
    index(library)
    first, second = sorted(library.glob("*.mp4"))[:2]
    add_labels(film_store, [tag_label(film_store.videos()[first], "dog", 1)])
    first.write_bytes(second.read_bytes() + b"\0" * 8)
    index(library)
    assert tagged(film_store) == [f"{first.name} dog"]

    first.write_bytes(b"no video")
    index(library)
    first.write_bytes(second.read_bytes() + b"\0" * 16)
    index(library)
    assert tagged(film_store) == [f"{first.name} dog"]


def test_tags_of_a_removed_video_wait_for_it_until_it_is_purged(library: Path, index: Index, film_store: Store) -> None:
    index(library)
    first = min(library.glob("*.mp4"))
    add_labels(film_store, [tag_label(film_store.videos()[first], "dog", 1)])
    remove_videos([first], film_store)
    assert tagged(film_store) == []
    index(first)
    assert tagged(film_store) == [f"{first.name} dog"]
    remove_videos([first], film_store)
    purge_videos(None, film_store)
    index(first)
    assert tagged(film_store) == []
