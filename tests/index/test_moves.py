"""Files that move: whatever is renamed, nothing is encoded again and nothing is lost."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.drives import set_mounts
from tests.support.stored import copy_index
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.index.events import Offline, Outcome
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.store.edit import relink_videos, remove_videos
from vidfind.store.places.path import IndexPath
from vidfind.store.store import Store
from vidfind.store.tables import UNKNOWN_PLACE

ORIGINALS = Path(__file__).parent.parent / "clips"
# One and the same content has two names; `long` is several segments.
CLIPS = {
    "a.mp4": "short.mp4",
    "b.mp4": "one_frame.mp4",
    "trip/c.mp4": "h264.mp4",
    "trip/copy.mp4": "short.mp4",
    "trip/day/long.mp4": "rotated90.mp4",
}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, clips: Path, tiny_encoder: Encoder) -> Path:
    """A folder with `films` and their index; made once, copied for each test."""
    made = tmp_path_factory.mktemp("moves") / "made"
    for name, clip in CLIPS.items():
        (made / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(clips / clip, made / "films" / name)
    store, load = open_store(made / "index", lambda choice: tiny_encoder, EncoderChoice(), 0.5)
    for _ in index_videos([made / "films"], store, load):
        pass
    return made


class Library:
    """Films and their index, with what can be done to them. Nothing here can encode."""

    def __init__(self, folder: Path, place: IndexPath) -> None:
        self.folder = folder
        self.films = folder / "films"
        self.store = Store.open(place)
        self.vectors = {row.path: row.content for row in self.store.videos().values()}

    def index(self, *folders: Path, **options: Any) -> dict[str, str]:
        """The status of each video by its path from here; what is unchanged is left out."""
        events = index_videos(folders or [self.films], self.store, _never, IndexOptions(**options))
        outcomes = [event for event in events if isinstance(event, Outcome) and event.status != "unchanged"]
        return {outcome.path.relative_to(self.folder).as_posix(): outcome.status for outcome in outcomes}

    def rename(self, old: str, new: str) -> None:
        target = self.folder / new
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / old).rename(target)

    def shuffle(self, chance: random.Random) -> None:
        """Renames all films: among themselves, to new names, and into new folders."""
        files = sorted(self.films.rglob("*.mp4"))
        names = {str(path.relative_to(self.films)) for path in files}
        names |= {f"{folder}{chance.randrange(100)}.mp4" for folder in ("", "x/", "y/z/")}
        targets = chance.sample(sorted(names), len(files))
        for number, path in enumerate(files):
            path.rename(self.folder / f"{number}.moving")
        for number, target in enumerate(targets):
            self.rename(f"{number}.moving", f"films/{target}")

    def check(self, *folders: Path) -> None:
        """The index has just the files there are, each with the vectors of its content, and a next run does nothing."""
        rows = self.store.videos()
        files = {path for folder in folders or [self.films] for path in folder.rglob("*.mp4")}
        assert set(rows) == files
        digests = {row.fingerprint: row.content for row in rows.values()}
        assert len(set(digests.values())) == len(digests) == len(set(CLIPS.values()))
        assert set(digests.values()) <= set(self.vectors.values())
        for path in files:
            clip = next(name for name in CLIPS if (ORIGINALS / CLIPS[name]).read_bytes() == path.read_bytes())
            assert rows[path].content == self.vectors[self.films / clip]
        assert self.index(*folders) == {}


def _never() -> Encoder:
    raise AssertionError("nothing must be encoded again")


@pytest.fixture
def library(indexed: Path, tmp_path: Path, place: IndexPath) -> Library:
    shutil.copytree(indexed / "films", tmp_path / "here" / "films")
    copy_index(indexed / "index", place)
    relink_videos(indexed, tmp_path / "here", Store.open(place))
    library = Library(tmp_path / "here", place)
    assert library.index() == {}
    return library


@pytest.mark.parametrize(
    ("moves", "told"),
    [
        pytest.param([("b.mp4", "new.mp4")], {"new.mp4": "moved"}, id="a name"),
        pytest.param([("b.mp4", "B.MP4")], {"B.MP4": "moved"}, id="only case"),
        pytest.param([("trip/day", "trip/Day")], {"trip/Day/long.mp4": "moved"}, id="only case of a folder"),
        pytest.param([("b.mp4", "trip/deep/er/b.mp4")], {"trip/deep/er/b.mp4": "moved"}, id="into a folder"),
        pytest.param(
            [("trip", "2024/trip")],
            {f"2024/trip/{name}": "moved" for name in ("c.mp4", "copy.mp4", "day/long.mp4")},
            id="a whole tree",
        ),
        pytest.param([("trip/copy.mp4", "copy2.mp4")], {"copy2.mp4": "moved"}, id="one of two copies"),
        pytest.param(
            [("trip/copy.mp4", "x.mp4"), ("a.mp4", "y.mp4")], {"x.mp4": "moved", "y.mp4": "moved"}, id="both copies"
        ),
        pytest.param(
            [("b.mp4", "x"), ("trip/c.mp4", "b.mp4"), ("x", "trip/c.mp4")],
            {"b.mp4": "changed", "trip/c.mp4": "changed"},
            id="two names swapped",
        ),
        pytest.param(
            [("b.mp4", "old.mp4"), ("trip/c.mp4", "b.mp4")],
            {"b.mp4": "moved", "old.mp4": "new"},
            id="a name passed on",
        ),
    ],
)
def test_what_was_renamed_is_not_encoded_again(
    library: Library, moves: list[tuple[str, str]], told: dict[str, str]
) -> None:
    for old, new in moves:
        library.rename(f"films/{old}", f"films/{new}")
    assert library.index() == {f"films/{name}": status for name, status in told.items()}
    files = {path for path in library.films.rglob("*") if path.is_file()}
    assert set(library.store.videos()) == files
    assert {row.content for row in library.store.videos().values()} == set(library.vectors.values())


def test_names_that_go_round_keep_their_vectors(library: Library) -> None:
    names = ["a.mp4", "b.mp4", "trip/c.mp4", "trip/day/long.mp4"]
    for name in names:
        library.rename(f"films/{name}", f"films/{name}.moving")
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        library.rename(f"films/{name}.moving", f"films/{other}")
    assert set(library.index().values()) == {"changed"}
    library.check()


def test_a_video_moved_while_a_copy_of_another_takes_its_name_is_found_by_both(library: Library) -> None:
    library.rename("films/b.mp4", "films/kept.mp4")
    shutil.copy2(library.films / "trip" / "c.mp4", library.films / "b.mp4")
    assert library.index() == {"films/b.mp4": "changed", "films/kept.mp4": "new"}
    library.check()


def test_a_video_moved_while_a_new_one_takes_its_name_is_encoded_once(
    library: Library, clips: Path, tiny_encoder: Encoder
) -> None:
    library.rename("films/b.mp4", "films/kept.mp4")
    shutil.copy2(clips / "vp9.webm", library.films / "b.mp4")
    events = list(index_videos([library.films], library.store, lambda: tiny_encoder))
    told = {event.path.name: event.status for event in events if isinstance(event, Outcome)}
    assert (told["b.mp4"], told["kept.mp4"]) == ("changed", "new")
    rows = library.store.videos()
    assert rows[library.films / "kept.mp4"].content == library.vectors[library.films / "b.mp4"]
    assert rows[library.films / "b.mp4"].content not in library.vectors.values()


def test_a_root_that_was_renamed_is_found_again(library: Library) -> None:
    library.rename("films", "cinema")
    assert set(library.index(library.folder / "cinema").values()) == {"moved"}
    library.check(library.folder / "cinema")
    assert library.store.folders() == [library.folder / "cinema"]


def test_videos_that_went_to_another_root_are_found_in_whatever_order_the_roots_are_indexed(library: Library) -> None:
    library.rename("films/trip", "archive/trip")
    archive = library.folder / "archive"
    assert set(library.index(archive).values()) == {"moved"}
    assert library.index(library.films, archive) == {}
    library.rename("archive/trip", "films/again/trip")
    (archive / "other.txt").touch()
    assert set(library.index(library.films).values()) == {"moved"}
    library.check(library.films, archive)


def test_a_copy_in_another_root_leaves_the_first_alone(library: Library) -> None:
    shutil.copytree(library.films, library.folder / "backup")
    assert set(library.index(library.folder / "backup").values()) == {"new"}
    library.check(library.films, library.folder / "backup")


def test_a_drive_at_another_mount_point_is_found_again_and_the_old_one_is_forgotten(library: Library) -> None:
    library.rename("films", "usb2")
    library.films.mkdir()  # the old mount point stays, empty
    assert set(library.index(library.folder / "usb2").values()) == {"moved"}
    library.check(library.folder / "usb2")


@pytest.mark.parametrize("mountpoint_stays", [False, True], ids=["gone", "empty"])
def test_a_root_that_is_not_mounted_keeps_its_videos_while_others_are_indexed(
    library: Library, mountpoint_stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.rename("films/trip", "usb/trip")
    usb = library.folder / "usb"
    set_mounts(monkeypatch, usb)
    library.index(library.films, usb)
    before = library.store.videos()
    library.rename("usb", "unplugged")
    set_mounts(monkeypatch)
    if mountpoint_stays:
        usb.mkdir()
    events = list(index_videos([library.films, usb], library.store, _never))
    assert [event for event in events if isinstance(event, Offline)] == [Offline(usb, 3)]
    assert library.index(library.films) == {}
    assert library.store.videos() == before
    if mountpoint_stays:
        usb.rmdir()
    library.rename("unplugged", "usb")
    set_mounts(monkeypatch, usb)
    assert library.index(library.films, usb) == {}


@pytest.mark.parametrize("mountpoint_stays", [False, True], ids=["gone", "empty"])
def test_a_mount_point_within_a_root_keeps_its_videos_when_asked_for_by_itself(
    library: Library, mountpoint_stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas = library.films / "trip"
    set_mounts(monkeypatch, nas)
    assert library.index() == {}
    before = library.store.videos()
    library.rename("films/trip", "unplugged")
    set_mounts(monkeypatch)
    if mountpoint_stays:
        nas.mkdir()
    assert list(index_videos([nas], library.store, _never)) == [Offline(nas, 3)]
    assert library.store.videos() == before


@pytest.mark.parametrize("folder", ["films", "films/trip/day"], ids=["the whole", "a part"])
def test_an_empty_folder_may_be_a_mount_point_unless_the_videos_were_on_its_own_drive(
    library: Library, folder: str
) -> None:
    rows = library.store.videos()
    with library.store.writing() as writer:  # as an older vidfind has stored them
        writer.put([dataclasses.replace(row, place=UNKNOWN_PLACE) for row in rows.values()])
    emptied = library.folder / folder
    library.rename(folder, "elsewhere")
    emptied.mkdir()
    os.utime(emptied, (10**9, 10**9))  # as old as the mount point, and not as the last change of what is mounted
    lost = [path for path in rows if path.is_relative_to(emptied)]
    told = list(index_videos([library.films], library.store, _never))
    assert Offline(library.films, len(lost)) in told
    assert library.store.videos().keys() == rows.keys()
    with library.store.writing() as writer:
        writer.put([*rows.values()])
    assert set(library.index().values()) == {"removed"}
    assert library.store.videos().keys() == rows.keys() - lost


def test_a_file_that_was_named_and_is_deleted_is_removed_where_its_folder_is_empty_then(library: Library) -> None:
    library.rename("films/b.mp4", "alone/b.mp4")
    alone = library.folder / "alone" / "b.mp4"
    assert library.index(alone, library.films) == {"alone/b.mp4": "moved"}
    alone.unlink()
    assert library.index(alone) == {"alone/b.mp4": "removed"}


@pytest.mark.parametrize("within", [False, True], ids=["at once", "within another mount"])
def test_a_drive_whose_mount_folder_vanishes_with_it_keeps_its_videos(
    library: Library, monkeypatch: pytest.MonkeyPatch, within: bool
) -> None:
    drive = library.films / "trip" / "day" if within else library.films / "trip"
    set_mounts(monkeypatch, library.films / "trip", drive)
    assert library.index() == {}  # the index was made before drives were remembered
    before = library.store.videos()
    drive.rename(library.folder / "unplugged")
    set_mounts(monkeypatch, *([library.films / "trip"] if within else []))
    told = list(index_videos([library.films], library.store, _never))
    assert [event for event in told if isinstance(event, Offline)] == [Offline(library.films, 1 if within else 3)]
    assert library.store.videos() == before
    (library.folder / "unplugged").rename(drive)
    set_mounts(monkeypatch, library.films / "trip", drive)
    assert library.index() == {}
    shutil.rmtree(drive)  # while it is mounted: a deletion
    assert set(library.index().values()) == {"removed"}


def test_a_backup_made_while_the_original_is_away_is_a_copy_of_it(library: Library) -> None:
    shutil.copytree(library.films, library.folder / "backup")
    library.rename("films", "unplugged")
    backup = library.folder / "backup"
    events = index_videos([backup], library.store, _never)
    told = [event for event in events if isinstance(event, Outcome)]
    assert {(event.status, event.copied_from) for event in told} == {("new", library.films)}
    library.rename("unplugged", "films")
    library.check(library.films, backup)


@pytest.mark.parametrize("root", [False, True], ids=["within the folder", "with the folder"])
def test_a_video_that_cannot_be_read_follows_its_folder(library: Library, tiny_encoder: Encoder, root: bool) -> None:
    (library.films / "trip" / "bad.mp4").write_bytes(b"no video")
    for _ in index_videos([library.films], library.store, lambda: tiny_encoder):
        pass
    library.rename("films" if root else "films/trip", "films2" if root else "films/2024")
    films = library.folder / ("films2" if root else "films")
    bad = films / ("trip" if root else "2024") / "bad.mp4"
    told = {event.path: event for event in index_videos([films], library.store, _never) if isinstance(event, Outcome)}
    assert (told[bad].status, told[bad].is_news) == ("failed", False)
    assert [path for path, row in library.store.videos().items() if row.failed] == [bad]


def test_what_was_removed_and_comes_back_is_not_encoded_again(library: Library) -> None:
    assert set(library.index(exclude=["*.mp4"]).values()) == {"removed"}
    assert library.store.videos() == {}
    run = index_videos([library.films], library.store, _never, IndexOptions(include=["*.mp4"]))
    events = [event for event in run if isinstance(event, Outcome)]
    assert {(event.status, event.is_taken_back) for event in events} == {("new", True)}
    library.check()
    library.rename("films/trip", "elsewhere")
    library.index()
    library.rename("elsewhere", "films/back")
    assert set(library.index().values()) == {"new"}
    library.check()
    remove_videos([library.films / "back"], library.store)
    assert set(library.index(library.films / "back").values()) == {"new"}
    assert library.store.removed() == {}


def test_a_file_that_was_replaced_for_a_while_is_not_encoded_again(library: Library, tiny_encoder: Encoder) -> None:
    before = library.store.videos()
    path = library.films / "b.mp4"
    path.rename(library.folder / "away.mp4")
    path.write_bytes(b"no video")
    for _ in index_videos([library.films], library.store, lambda: tiny_encoder):
        pass
    (library.folder / "away.mp4").replace(path)
    assert library.index() == {"films/b.mp4": "changed"}
    assert library.store.videos()[path].content == before[path].content


def test_relinked_videos_are_unchanged_for_the_next_run(library: Library) -> None:
    library.rename("films", "elsewhere")
    elsewhere = library.folder / "elsewhere"
    assert len(relink_videos(library.films, elsewhere, library.store)) == len(CLIPS)
    library.check(elsewhere)


def test_what_was_relinked_out_of_a_folder_is_not_removed_with_it(library: Library) -> None:
    library.rename("films/trip", "unplugged")
    relink_videos(library.films / "trip", library.folder / "usb", library.store)
    assert library.index() == {}  # of the old folder, while the new one is not mounted
    assert len(library.store.videos()) == len(CLIPS)
    library.rename("unplugged", "usb")
    assert library.index(library.folder / "usb") == {}
    library.check(library.films, library.folder / "usb")


def test_two_videos_of_one_size_and_date_that_swap_names_are_told_apart_when_verified(
    library: Library, tiny_encoder: Encoder
) -> None:
    one, two = library.films / "one.mp4", library.films / "two.mp4"
    data = (library.films / "a.mp4").read_bytes()
    one.write_bytes(data + b"\0one")
    two.write_bytes(data + b"\0two")
    for path in (one, two):
        os.utime(path, (10**9, 10**9))
    for _ in index_videos([library.films], library.store, lambda: tiny_encoder):
        pass
    contents = {path.name: row.content for path, row in library.store.videos().items()}
    one.rename(library.films / "x")
    two.rename(one)
    (library.films / "x").rename(two)
    assert library.index() == {}
    assert library.index(verify=True) == {"films/one.mp4": "changed", "films/two.mp4": "changed"}
    swapped = {path.name: row.content for path, row in library.store.videos().items()}
    assert (swapped["one.mp4"], swapped["two.mp4"]) == (contents["two.mp4"], contents["one.mp4"])
    assert library.index(verify=True) == {}


@pytest.mark.parametrize(("seconds", "options"), [(0, {"verify": True}), (1, {})], ids=["verified", "another date"])
def test_other_content_of_the_same_name_and_size_is_noticed(
    library: Library, tiny_encoder: Encoder, seconds: int, options: dict[str, Any]
) -> None:
    path = library.films / "b.mp4"
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xa5")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 10**9))
    events = index_videos([library.films], library.store, lambda: tiny_encoder, IndexOptions(**options))
    told = [(event.path.name, event.status) for event in events if isinstance(event, Outcome)]
    assert ("b.mp4", "changed") in told
    assert [status for name, status in told if name != "b.mp4"] == ["unchanged"] * 4


@pytest.mark.parametrize("seed", range(8))
def test_any_shuffle_of_names_loses_nothing(library: Library, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(3):
        library.shuffle(chance)
        library.index()
        library.check()
