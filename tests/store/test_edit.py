"""Videos forgotten, and known by other paths, with no file looked at."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.support.stored import begin_again, put
from vidfind.errors import BadInput
from vidfind.search.moments import search_moments
from vidfind.store.edit import Relinked, relink_videos, remove_videos
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow
from vidfind.store.writer import StoreWriter

DAY = datetime(2024, 5, 17, tzinfo=UTC)
AXES = np.eye(16, dtype=np.float32)


def add(store: Store, path: str, number: int, folder: str = "/old", failed: str = "") -> VideoRow:
    """Stores a video whose one vector is an axis, that of its number; one that failed has none."""
    content = 0 if failed else number
    row = VideoRow(
        Path(path), Path(folder), 1, 5, f"{content}", DAY, DAY, content, min(content, 1), 10.0, failed=failed
    )
    put(store, [row], [] if failed else [Embedded(number, [(0, 10)], AXES[number : number + 1])])
    return row


def paths(store: Store) -> dict[str, str]:
    """The folder of each video."""
    return {str(path): str(row.folder) for path, row in store.videos().items()}


def relink(store: Store, old: str, new: str) -> list[Relinked]:
    return relink_videos(Path(old), Path(new), store)


def test_videos_and_folders_of_them_are_forgotten(store: Store) -> None:
    for number, path in enumerate(("/old/a.mp4", "/old/b.mp4", "/old/inner/c.mp4", "/old/inner2/d.mp4"), start=1):
        add(store, path, number)
    removed = remove_videos([Path("/old/inner"), Path("/old/a.mp4")], store)
    assert [row.path.name for row in removed] == ["a.mp4", "c.mp4"]
    assert set(paths(store)) == {"/old/b.mp4", "/old/inner2/d.mp4"}
    with pytest.raises(BadInput, match=r"a\.mp4 or lies under it"):
        remove_videos([Path("/old/b.mp4"), Path("/old/a.mp4")], store)
    assert len(store.videos()) == 2


def test_a_folder_that_has_another_path_now_takes_its_videos_with_it(store: Store) -> None:
    add(store, "/old/a.mp4", 1)
    add(store, "/old/inner/b.mp4", 2, "/old/inner")
    add(store, "/old/inner/c.mp4", 3, "/old/inner", failed="it is empty")
    add(store, "/older/d.mp4", 4, "/older")
    before = {row.path.name: row for row in store.videos().values()}
    relinked = relink(store, "/old/", "/new")
    assert [(str(one.path), str(one.source), one.was_known) for one in relinked] == [
        ("/new/a.mp4", "/old/a.mp4", False),
        ("/new/inner/b.mp4", "/old/inner/b.mp4", False),
        ("/new/inner/c.mp4", "/old/inner/c.mp4", False),
    ]
    assert paths(store) == {
        "/new/a.mp4": "/new",
        "/new/inner/b.mp4": "/new/inner",
        "/new/inner/c.mp4": "/new/inner",
        "/older/d.mp4": "/older",
    }
    for row in store.videos().values():  # nothing else has changed
        old = before[row.path.name]
        assert dataclasses.replace(row, path=old.path, folder=old.folder) == old
    assert [moment.path for moment in search_moments(store, AXES[2], limit=1)] == [Path("/new/inner/b.mp4")]


def test_a_folder_within_the_one_indexed_becomes_a_folder_of_its_own(store: Store) -> None:
    add(store, "/media/usb1/a.mp4", 1, "/media")
    add(store, "/media/other/b.mp4", 2, "/media")
    relink(store, "/media/usb1", "/media/usb2")
    assert paths(store) == {"/media/usb2/a.mp4": "/media/usb2", "/media/other/b.mp4": "/media"}


@pytest.mark.parametrize("folder", ["/old", "/old/a.mp4"], ids=["of a folder", "indexed by name"])
def test_a_single_video_can_be_relinked(store: Store, folder: str) -> None:
    add(store, "/old/a.mp4", 1, folder)
    add(store, "/old/a.mp4.mp4", 2)
    relink(store, "/old/a.mp4", "/new/b.mp4")
    assert paths(store) == {"/new/b.mp4": "/new/b.mp4", "/old/a.mp4.mp4": "/old"}


def test_a_relative_path_counts_from_here(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, f"{tmp_path}/films/a.mp4", 1, f"{tmp_path}/films")
    monkeypatch.chdir(tmp_path)
    relink(store, "films", "clips")
    assert paths(store) == {f"{tmp_path}/clips/a.mp4": f"{tmp_path}/clips"}


@pytest.mark.parametrize(
    ("old", "there", "stays"),
    [("", "", 2), ("", "broken", 1), ("broken", "", 2), ("broken", "broken", 0)],
    ids=["both good", "the new one failed", "the old one failed", "both failed"],
)
def test_of_two_videos_for_one_path_the_good_one_stays(store: Store, old: str, there: str, stays: int) -> None:
    add(store, "/old/a.mp4", 1, failed=old)
    add(store, "/new/a.mp4", 2, "/new", failed=there)
    [relinked] = relink(store, "/old", "/new")
    assert relinked.was_known
    [row] = store.videos().values()
    assert (str(row.path), row.content, bool(row.failed)) == ("/new/a.mp4", stays, not stays)
    assert len(store.search(AXES[0], 10)) == min(stays, 1)  # the vectors of the other are cleared


def test_what_is_not_indexed_cannot_be_relinked(store: Store) -> None:
    add(store, "/old/a.mp4", 1)
    for old in ("/ol", "/old/a", "/old/a.mp4/x", "/nothing"):
        with pytest.raises(BadInput, match=f"No video of the index {store.path.name!r} is {old} or lies under it"):
            relink(store, old, "/new")
    relink(store, "/old", "/new")
    with pytest.raises(BadInput, match=r"lies under it \(there are some under /new\)"):
        relink(store, "/old", "/new")


@pytest.mark.parametrize(("old", "new"), [("/old", "/old"), ("/old", "/old/inner"), ("/old/inner", "/old")])
def test_what_a_second_call_would_move_again_is_refused(store: Store, old: str, new: str) -> None:
    add(store, "/old/inner/inner/a.mp4", 1)
    with pytest.raises(BadInput, match="lie within one another"):
        relink(store, old, new)
    assert paths(store) == {"/old/inner/inner/a.mp4": "/old"}


def test_a_folder_can_be_lifted_out_of_another(store: Store) -> None:
    add(store, "/media/usb/films/a.mp4", 1, "/media/usb/films")
    relink(store, "/media/usb/films", "/media/usb")
    assert paths(store) == {"/media/usb/a.mp4": "/media/usb"}


def test_a_drive_letter_and_all_is_replaced(store: Store) -> None:
    add(store, "/a.mp4", 1, "/")
    add(store, "/films/b.mp4", 2, "/films")
    with pytest.raises(BadInput, match="lie within one another"):
        relink(store, "/", "/mnt")
    relink(store, "/films", "/")
    assert paths(store) == {"/a.mp4": "/", "/b.mp4": "/"}


@pytest.mark.parametrize("done", ["put", "remove"])
def test_a_relink_that_was_killed_is_finished_by_the_next(
    store: Store, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        add(store, f"/old/{number}.mp4", number)
    unfinished = begin_again(store, "home")
    add(unfinished, "/old/1.mp4", 4)
    original = getattr(StoreWriter, done)

    def killed(self: StoreWriter, *arguments: object) -> None:
        original(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StoreWriter, done, killed)
        relink(store, "/old", "/new")
    relink(store, "/old", "/new")
    assert paths(store) == {f"/new/{number}.mp4": "/new" for number in (1, 2, 3)}
    assert paths(unfinished) == {"/new/1.mp4": "/new"}
    assert len(store.search(AXES[0], 100)) == 3


def test_an_encoding_that_is_not_finished_is_relinked_too(store: Store) -> None:
    add(store, "/old/a.mp4", 1)
    add(store, "/old/b.mp4", 2)
    unfinished = begin_again(store, "home")
    add(unfinished, "/old/a.mp4", 3)
    assert len(relink(store, "/old", "/new")) == 2
    assert set(paths(store)) == {"/new/a.mp4", "/new/b.mp4"}
    assert paths(unfinished) == {"/new/a.mp4": "/new"}
    assert len(remove_videos([Path("/new/a.mp4")], store)) == 1
    assert paths(unfinished) == {}
