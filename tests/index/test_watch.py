"""Following folders: real files that appear, grow, move and vanish, and settling times of a moment."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_until
from vidfind.commands import NO_ADAPTER
from vidfind.demo.collection import draw_collection
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput
from vidfind.index.events import Outcome
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_to_index
from vidfind.index.watch import (
    FolderBack,
    FolderLeft,
    OpenIndex,
    Retrying,
    RunEnded,
    WatchEvent,
    Watching,
    looks,
    watch_videos,
)
from vidfind.store.store import Store

SETTLING = 0.3
LONG = 3.0  # where a file must not settle between two writes, however busy the machine is
OLD = 1_600_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one video from long ago, `old.mp4`, and one in `inner`."""
    folder = tmp_path / "films"
    (folder / "inner").mkdir(parents=True)
    for video in (folder / "old.mp4", folder / "inner" / "older.mp4"):
        video.write_bytes(b"a video")
        os.utime(video, (OLD, OLD))
    return folder


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Meanwhile, the file is written to without a pause."""
    done = threading.Event()

    def write() -> None:
        with open(path, "ab", buffering=0) as file:
            while not done.wait(SETTLING / 20):
                file.write(b"more")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_until(path.exists)
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def soon(act: Callable[[], object], seconds: float = 1.5) -> Iterator[None]:
    timer = threading.Timer(seconds, act)
    timer.start()
    yield
    timer.join()


def looks_until_all_has_settled(watching: Iterator[frozenset[Path]]) -> int:
    """How many looks there are until nothing is left alone: a busy system may tell of changes one by one."""
    return 1 + sum(1 for _ in iter(lambda: next(watching), frozenset()))


def test_the_first_look_is_at_once_and_at_everything(folder: Path) -> None:
    assert next(looks([folder], settling=SETTLING)) == frozenset()


def test_a_video_from_a_moment_ago_is_left_for_the_next_look(folder: Path) -> None:
    new = folder / "new.mp4"
    new.write_bytes(b"a video")
    os.utime(new, (time.time() + 3600,) * 2)  # a moment ago, however long the start takes
    watching = looks([folder], settling=SETTLING)
    assert next(watching) == {new}
    assert next(watching) == frozenset()


@pytest.mark.parametrize("place", [".", "inner", "made/now"])
def test_a_new_video_is_looked_at_once_it_has_settled(folder: Path, place: str) -> None:
    watching = looks([folder], settling=SETTLING)
    next(watching)
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / place / "new.mp4").write_bytes(b"a video")
    written = time.monotonic()
    looks_until_all_has_settled(watching)
    assert time.monotonic() - written >= SETTLING


def test_a_video_that_grows_is_left_alone_and_does_not_hold_up_the_others(folder: Path) -> None:
    watching = looks([folder], settling=LONG)
    next(watching)
    recording = folder / "recording.mp4"
    with growing(recording):
        (folder / "new.mp4").write_bytes(b"a video")
        assert next(watching) == {recording}
    assert next(watching) == frozenset()


def test_a_video_that_grows_with_pauses_is_waited_for_longer_and_longer(folder: Path) -> None:
    watching = looks([folder], settling=SETTLING)
    next(watching)
    waited = []
    for _ in range(3):
        with open(folder / "download.mp4", "ab") as file:
            file.write(b"more")
        written = time.monotonic()
        next(watching)
        waited.append(time.monotonic() - written)
    assert waited[1] >= 2 * SETTLING
    assert waited[2] >= 4 * SETTLING


def test_many_changes_at_once_make_one_look(folder: Path) -> None:
    watching = looks([folder], settling=SETTLING)
    next(watching)
    for number in range(200):
        (folder / f"{number}.mp4").write_bytes(b"a video")
    (folder / "old.mp4").unlink()
    assert looks_until_all_has_settled(watching) < 10  # one, unless the system takes its time to tell
    last = folder / "last.mp4"
    with soon(lambda: last.write_bytes(b"a video")):
        next(watching)
        assert last.exists()


def test_what_is_no_change_of_a_video_does_not_wake(folder: Path) -> None:
    for inner in (".hidden", "drafts"):
        (folder / inner).mkdir()
    watching = looks([folder], ["drafts"], settling=SETTLING)
    next(watching)
    for name in ("notes.txt", ".hidden.mp4", ".hidden/new.mp4", "drafts/new.mp4"):
        (folder / name).write_bytes(b"something")
    (folder / "notes.txt").unlink()
    (folder / "old.mp4").read_bytes()
    last = folder / "last.mp4"
    with soon(lambda: last.write_bytes(b"a video")):
        next(watching)
        assert last.exists()


@pytest.mark.parametrize("name", ["old.mp4", "inner"])
def test_what_goes_away_is_looked_at(folder: Path, tmp_path: Path, name: str) -> None:
    watching = looks([folder], settling=SETTLING)
    next(watching)
    (folder / name).rename(tmp_path / name)
    assert next(watching) == frozenset()


def test_a_folder_within_a_folder_that_was_moved_here_is_followed(folder: Path, tmp_path: Path) -> None:
    watching = looks([folder], settling=SETTLING)
    next(watching)
    (tmp_path / "away" / "deep").mkdir(parents=True)
    (folder / "old.mp4").rename(tmp_path / "away" / "deep" / "old.mp4")
    (tmp_path / "away").rename(folder / "back")
    looks_until_all_has_settled(watching)
    (folder / "back" / "deep").rename(tmp_path / "deep")
    assert next(watching) == frozenset()


def test_the_old_and_the_new_name_of_a_video_are_left_alone_together(folder: Path) -> None:
    """Else it would be forgotten at one look, and encoded again at the next."""
    watching = looks([folder], settling=LONG)
    next(watching)
    other = folder / "other.mp4"
    other.write_bytes(b"a video")
    old, new = folder / "old.mp4", folder / "new.mp4"
    old.rename(new)
    with growing(new):
        assert next(watching) == {old, new}
    looks_until_all_has_settled(watching)  # the old name first, if the new one was written to for long


def test_what_has_gone_waits_for_what_may_be_its_new_name(folder: Path) -> None:
    watching = looks([folder], settling=LONG)
    next(watching)
    old, new = folder / "old.mp4", folder / "new.mp4"
    old.unlink()
    with soon(lambda: new.write_bytes(b"a video"), LONG / 4):
        assert next(watching) == frozenset()
        assert new.exists()


def test_a_folder_that_goes_and_comes_back_is_followed_again(folder: Path, tmp_path: Path) -> None:
    watching = looks([folder], settling=SETTLING)
    next(watching)
    folder.rename(tmp_path / "unplugged")
    looks_until_all_has_settled(watching)
    (tmp_path / "unplugged").rename(folder)
    looks_until_all_has_settled(watching)
    new = folder / "inner" / "new.mp4"
    with soon(lambda: new.write_bytes(b"a video")):
        looks_until_all_has_settled(watching)
        assert new.exists()  # nothing else was left to look at


def test_a_folder_that_is_not_there_yet_is_followed_when_it_is(folder: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    watching = looks([later], settling=SETTLING)
    next(watching)
    with soon(lambda: shutil.copytree(folder, later)):
        next(watching)
        assert later.exists()


def test_a_file_named_itself_is_followed_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "strange.bin"
    file.write_bytes(b"a video")
    os.utime(file, (OLD, OLD))
    watching = looks([file], settling=SETTLING)
    next(watching)
    with soon(lambda: (tmp_path / "other.bin").write_bytes(b"more"), 0.0), soon(lambda: file.write_bytes(b"more")):
        next(watching)
        assert file.read_bytes() == b"more"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_changes_are_told_by_the_names_that_the_user_gave(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    watching = looks([link], settling=LONG)
    next(watching)
    with growing(folder / "recording.mp4"):
        (folder / "new.mp4").write_bytes(b"a video")
        assert next(watching) == {link / "recording.mp4"}


def test_where_the_system_tells_of_no_changes_folders_can_be_looked_through(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "1")
    monkeypatch.setenv("WATCHFILES_POLL_DELAY_MS", "100")
    watching = looks([folder], settling=SETTLING)
    next(watching)
    new = folder / "inner" / "new.mp4"
    with soon(lambda: new.write_bytes(b"a video"), 0.5):
        next(watching)
        assert new.exists()


def test_whoever_could_not_look_is_told_again(folder: Path) -> None:
    watching = looks([folder], settling=SETTLING)
    next(watching)
    assert watching.send(True) == frozenset()


# Bringing an index up to date


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of two drawn videos from long ago."""
    for path, _ in draw_collection(tmp_path / "drawn", 2):
        os.utime(path, (OLD, OLD))
    return tmp_path / "drawn"


@pytest.fixture
def open_index(tmp_path: Path, tiny_encoder: Encoder) -> OpenIndex:
    """Opens an index of the tiny model, `index` beside the films."""
    return lambda folders, asked: open_to_index(folders, tmp_path / "index", lambda choice: tiny_encoder, asked)


def until(kind: type[WatchEvent], events: Iterator[WatchEvent]) -> list[WatchEvent]:
    """The next events, up to the first of a kind."""
    found = [next(events)]
    while not isinstance(found[-1], kind):
        found.append(next(events))
    return found


def statuses(events: list[WatchEvent]) -> dict[str, str]:
    return {event.path.name: event.status for event in events if isinstance(event, Outcome)}


def test_the_first_run_yields_all_and_later_ones_what_is_new(films: Path, open_index: OpenIndex) -> None:
    with closing(watch_videos([films], open_index, EncoderChoice(), settling=SETTLING)) as watching:
        *events, ended, start = until(Watching, watching)
        assert statuses(events) == {"clip-1.mp4": "new", "clip-2.mp4": "new"}
        assert (ended, start) == (RunEnded(is_first=True, has_news=True), Watching(folders=1, changing=0))
        (films / "clip-1.mp4").unlink()
        [removed] = until(Outcome, watching)
        assert isinstance(removed, Outcome)
        assert (removed.path.name, removed.status, removed.segments) == ("clip-1.mp4", "removed", 1)
        assert removed.seconds == pytest.approx(3, abs=3)
        assert until(RunEnded, watching)[-1] == RunEnded(is_first=False, has_news=True)
        (films / "clip-2.mp4").touch()
        assert until(RunEnded, watching) == [RunEnded(is_first=False, has_news=False)]


def test_a_busy_index_is_reported_once_and_tried_again(films: Path, open_index: OpenIndex, tmp_path: Path) -> None:
    with closing(watch_videos([films], open_index, EncoderChoice(), settling=SETTLING)) as watching:
        until(Watching, watching)
        with Store.open(tmp_path / "index").writing():
            (films / "clip-1.mp4").unlink()
            first, second = until(Retrying, watching)[-1], until(Retrying, watching)[-1]
        assert isinstance(first, Retrying) and isinstance(second, Retrying)
        assert (first.reason, first.is_new, second.is_new) == (second.reason, True, False)
        assert statuses(until(Outcome, watching)) == {"clip-1.mp4": "removed"}


def test_folders_that_go_and_come_back_are_reported(films: Path, open_index: OpenIndex, tmp_path: Path) -> None:
    with closing(watch_videos([films], open_index, EncoderChoice(), settling=SETTLING)) as watching:
        until(Watching, watching)
        films.rename(tmp_path / "away")
        assert until(FolderLeft, watching)[-1] == FolderLeft(films)
        (tmp_path / "away").rename(films)
        assert until(FolderBack, watching)[-1] == FolderBack(films)


def test_an_adapter_asked_for_is_asked_for_until_there_is_an_index(films: Path, open_index: OpenIndex) -> None:
    asked: list[object] = []

    def note(folders: Sequence[Path], choice: EncoderChoice) -> Any:
        asked.append(choice)
        return open_index(folders, choice)

    empty = films.with_name("empty")
    empty.mkdir()
    with closing(watch_videos([empty], note, EncoderChoice(adapter=NO_ADAPTER), settling=SETTLING)) as watching:
        until(Watching, watching)
        shutil.copy2(films / "clip-1.mp4", empty)
        until(Outcome, watching)
        until(RunEnded, watching)
        shutil.copy2(films / "clip-2.mp4", empty)
        until(Outcome, watching)
    assert asked[0] == asked[1] == EncoderChoice(adapter=NO_ADAPTER)
    assert asked[-1] == EncoderChoice()


def test_an_error_in_the_first_run_ends_the_watch(films: Path, open_index: OpenIndex) -> None:
    with pytest.raises(BadInput, match="There is no folder or video"):
        next(watch_videos([films / "nowhere"], open_index, EncoderChoice(), IndexOptions(), settling=SETTLING))
