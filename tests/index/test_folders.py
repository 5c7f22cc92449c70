"""Indexing folders with links, and with what cannot be read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.support.indexing import Index, statuses
from vidfind.errors import BadInput
from vidfind.index.prepare import check_folders
from vidfind.store.edit import remove_videos
from vidfind.store.select import select_videos
from vidfind.store.store import Store


def test_a_link_that_sorts_first_neither_replaces_the_real_files_nor_loses_them(
    index: Index, library: Path, film_store: Store
) -> None:
    (library / "a-link").symlink_to("inner")
    (library / "0.mp4").symlink_to("b.mp4")
    stored = {library / "a.mp4", library / "b.mp4", library / "inner" / "long.mp4"}
    index(library)
    assert film_store.videos().keys() == stored
    for folder in ("a-link", "inner", "0.mp4", "b.mp4"):
        assert select_videos(film_store, [str(library / folder)]).contents()
    (library / "a-link").unlink()
    (library / "0.mp4").unlink()
    assert set(statuses(index(library)).values()) == {"unchanged"}
    assert film_store.videos().keys() == stored


def test_a_folder_of_links_is_searched_as_a_person_sees_it(index: Index, library: Path, film_store: Store) -> None:
    (library / "0 best").mkdir()
    (library / "0 best" / "1.mp4").symlink_to("../b.mp4")
    (library / "0 best" / "2").symlink_to("../inner")
    (library / "0 best" / "all").symlink_to("..")
    (library / "a.mp4").rename(library / "0 best" / "a.mp4")
    index(library)
    rows = film_store.videos()
    assert rows.keys() == {library / "0 best" / "a.mp4", library / "b.mp4", library / "inner" / "long.mp4"}

    def names(*places: Path) -> set[str]:
        chosen = select_videos(film_store, list(map(str, places))).paths_of([row.content for row in rows.values()])
        return {path.name for path in chosen}

    assert names(library / "0 best") == {"a.mp4", "b.mp4", "long.mp4"}
    assert names(library / "0 best" / "2") == names(library / "0 best" / "2" / "long.mp4") == {"long.mp4"}
    assert names(library / "0 best" / "1.mp4") == {"b.mp4"}
    assert names(library / "inner") == {"long.mp4"}
    (library / "0 best" / "2").unlink()
    index(library)
    assert names(library / "0 best") == {"a.mp4", "b.mp4"}


def test_an_excluded_path_stays_out_wherever_the_next_run_is_started(
    index: Index, library: Path, film_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library)
    index(library, exclude=["./inner"])
    monkeypatch.chdir(library.parent)
    assert set(statuses(index(library)).values()) == {"unchanged"}
    assert film_store.videos().keys() == {library / "a.mp4", library / "b.mp4"}


def test_what_is_indexed_through_a_link_alone_is_found_and_removed_by_both_paths(
    index: Index, library: Path, film_store: Store
) -> None:
    outside = (library / "inner").rename(library.with_name("outside"))
    alone = (library / "b.mp4").rename(library.with_name("alone.mp4"))
    (library / "link").symlink_to(outside)
    (library / "one.mp4").symlink_to(alone)
    index(library)
    for place in (outside, outside / "long.mp4", library / "link", alone, library / "one.mp4"):
        assert len(select_videos(film_store, [str(place)]).contents()) == 1
    assert [row.path for row in remove_videos([outside, alone], film_store)] == [
        library / "link" / "long.mp4",
        library / "one.mp4",
    ]
    assert statuses(index(library)) == {"a.mp4": "unchanged"}  # and they stay out
    root = library.with_name("root")
    root.symlink_to(outside)
    assert statuses(index(root)) == {"long.mp4": "new"}
    assert select_videos(film_store, [str(outside / "long.mp4")]).paths_of(
        [row.content for row in film_store.videos().values()]
    ) == {root / "long.mp4"}


def test_a_link_to_what_is_indexed_by_its_own_path_can_be_removed(
    index: Index, library: Path, film_store: Store
) -> None:
    (library / "link").symlink_to("inner")
    index(library)
    assert [row.path for row in remove_videos([library / "link"], film_store)] == [library / "inner" / "long.mp4"]
    assert statuses(index(library)) == {"a.mp4": "unchanged", "b.mp4": "unchanged"}


def test_an_index_that_knows_a_video_by_a_link_gets_its_real_path_without_encoding(
    index: Index, library: Path, film_store: Store
) -> None:
    (library / "a-link").symlink_to("inner")
    index(library / "a-link")
    outcome = index(library)["long.mp4"]
    assert (outcome.status, outcome.same_as) == ("new", library / "a-link" / "long.mp4")
    assert film_store.videos().keys() == {library / "a.mp4", library / "b.mp4", library / "inner" / "long.mp4"}
    assert len({row.content for row in film_store.videos().values()}) == 3


def test_what_lies_in_a_folder_that_cannot_be_read_stays_in_the_index(
    index: Index, library: Path, film_store: Store
) -> None:
    index(library)
    (library / "inner").rename(library.with_name("elsewhere"))
    (library / "inner").symlink_to("inner")
    assert statuses(index(library)) == {"a.mp4": "unchanged", "b.mp4": "unchanged"}
    assert library / "inner" / "long.mp4" in film_store.videos()


@pytest.mark.parametrize("name", ["", "a.mp4"], ids=["folder", "file in it"])
def test_a_folder_asked_for_that_may_not_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shut" / name
        path.parent.mkdir(exist_ok=True)
        (Path(folder) / "shut").mkdir(exist_ok=True)
        os.chmod(folder, 0o755)
        (Path(folder) / "shut").chmod(0)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(65534)
            with pytest.raises(BadInput, match=r"shut.* may not be read: no permission"):
                check_folders([path], tmp_path / "no-index")
        finally:
            if is_root:
                os.seteuid(0)


def test_a_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="its path is too long for this system"):
        check_folders([tmp_path / ("x" * 300)], tmp_path / "no-index")
