"""What runs leave out until it is asked for, what was named before, and removals that must be confirmed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import BadInput, IndexDamaged
from vidfind.folders.names import Reason
from vidfind.folders.walk import Survey
from vidfind.index.events import NotRemoved, Outcome
from vidfind.index.options import FEW_REMOVALS, IndexOptions
from vidfind.index.prepare import open_store
from vidfind.index.preview import preview_index
from vidfind.index.run import index_videos
from vidfind.store.edit import relink_videos, remove_videos
from vidfind.store.memory import LEFT_OUT_FILE, read_left_out
from vidfind.store.mending.health import check_index, mend_index
from vidfind.store.places.path import IndexPath


class Shelf:
    """A folder of films that all have the same contents, and an index: nothing is encoded but the first."""

    def __init__(self, folder: Path, place: IndexPath, clip: Path, encoder: Encoder) -> None:
        self.folder, self._clip, self._encoder = folder, clip, encoder
        folder.mkdir()
        self.store, _ = open_store(place, lambda choice: encoder, EncoderChoice())

    def add(self, *names: str) -> None:
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._clip, self.folder / name)

    def index(self, *names: str, **options: Any) -> dict[str, str]:
        """What a run over folders and files does with each video; what is unchanged is left out."""
        folders = [self.folder / name for name in names or ("",)]
        preview = preview_index(folders, self.store.path, IndexOptions(**options))
        self.events = events = [*index_videos(folders, self.store, lambda: self._encoder, IndexOptions(**options))]
        outcomes = [event for event in events if isinstance(event, Outcome) and event.status != "unchanged"]
        assert sorted(preview.videos) == sorted((outcome.path, outcome.status) for outcome in outcomes)
        return {outcome.path.relative_to(self.folder).as_posix(): outcome.status for outcome in outcomes}

    def names(self) -> set[str]:
        return {path.relative_to(self.folder).as_posix() for path in self.store.videos()}

    def remove(self, *names: str) -> None:
        remove_videos([self.folder / name for name in names], self.store)


@pytest.fixture
def shelf(tmp_path: Path, place: IndexPath, clips: Path, tiny_encoder: Encoder) -> Shelf:
    return Shelf(tmp_path / "films", place, clips / "short.mp4", tiny_encoder)


@pytest.mark.parametrize("name", [".secret/a.mp4", "plain", "$RECYCLE.BIN/a.mp4", ".hidden.mp4", "trip/.b/c/a.mp4"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_was_named_survives_the_next_run_of_its_folder(shelf: Shelf, name: str, kind: str) -> None:
    shelf.add("b.mp4", name)
    named = name if kind == "file" else name.rpartition("/")[0]
    if not named:
        pytest.skip("its folder is the whole")
    assert shelf.index(named) == {name: "new"}
    assert shelf.index() == {"b.mp4": "new"}
    assert shelf.index() == {}
    shutil.copyfile(shelf.folder / "b.mp4", shelf.folder / "c.mp4")
    with (shelf.folder / name).open("ab") as file:
        file.write(b"more")  # it is encoded again, and stays one that was named
    assert shelf.index() == {"c.mp4": "new", name: "changed"}
    assert shelf.index() == {}
    (shelf.folder / name).with_name("notes.txt").touch()  # an empty folder may be where a drive is mounted
    (shelf.folder / name).unlink()
    assert shelf.index() == {name: "removed"}


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("#recycle/a.mp4", {}),
        ("#recycle", {}),
        ("trip/clip.lrv", {Reason.BIN: 1}),
        ("trip/live.mp4", {Reason.BIN: 1, Reason.PROXY: 1}),
    ],
)
def test_what_was_named_is_not_told_as_left_out(shelf: Shelf, named: str, told: dict[Reason, int]) -> None:
    shelf.add("#recycle/a.mp4", *(["trip/clip.lrv", "trip/clip.mp4"] if "trip" in named else []))
    if named == "trip/live.mp4":
        shelf.add(named)
        (shelf.folder / "trip" / "live.jpg").write_bytes(b"\xff\xd8\xff\xe1picture")
    for roots in (["", named], [""]):  # in the run that names it, and in later ones of its folder
        assert (shelf.index(*roots) == {}) == (roots == [""])  # and nothing is lost by the later one
        surveys = [event for event in shelf.events if isinstance(event, Survey)]
        left_out = surveys[0].left_out if surveys else {}
        assert {reason: len(paths) for reason, paths in left_out.items()} == told
    shelf.add("#recycle/b.mp4")
    shelf.index()
    assert [event.left_out[Reason.BIN] for event in shelf.events if isinstance(event, Survey)] == (
        [] if named == "#recycle" else [[shelf.folder / "#recycle"]]
    )


def test_what_was_named_can_be_excluded(shelf: Shelf) -> None:
    shelf.add("b.mp4", ".secret/a.mp4")
    shelf.index("", ".secret")
    assert shelf.index(exclude=[".secret"]) == {".secret/a.mp4": "removed"}
    assert shelf.index() == {}


def test_what_was_removed_stays_out_until_it_is_named(shelf: Shelf) -> None:
    shelf.add("a.mp4", "drafts/b.mp4", "drafts/c.mp4", "drafts/old/d.mp4")
    shelf.index()
    shelf.remove("a.mp4", "drafts")
    assert shelf.index() == {}
    shelf.add("drafts/new.mp4")
    assert shelf.index() == {}
    assert shelf.index("drafts/old") == {"drafts/old/d.mp4": "new"}
    assert shelf.index() == {}
    shelf.remove("drafts/old")
    assert shelf.index() == {}
    assert shelf.index("drafts", is_asked=False) == {}  # as a later run of --watch
    assert shelf.index("drafts") == {f"drafts/{name}.mp4": "new" for name in ("b", "c", "new")}
    assert shelf.index("", "a.mp4", "drafts/old") == {"a.mp4": "new", "drafts/old/d.mp4": "new"}
    assert read_left_out(shelf.store.path).removed == frozenset()


@pytest.mark.parametrize("pattern", ["Trash", "*/Trash", "trip/Trash", "Tr*"])
def test_what_was_excluded_stays_out_until_it_is_asked_for(shelf: Shelf, tmp_path: Path, pattern: str) -> None:
    shelf.add("a.mp4", "trip/Trash/b.mp4", "trip/Trash/c.mp4")
    assert shelf.index(exclude=[pattern]) == {"a.mp4": "new"}
    assert shelf.index() == {}
    assert shelf.index("trip") == {}
    events = index_videos([tmp_path], shelf.store, lambda: pytest.fail("nothing is encoded"))
    assert [event.path.name for event in events if isinstance(event, Outcome)] == ["a.mp4"]
    assert shelf.index("trip/Trash/b.mp4") == {"trip/Trash/b.mp4": "new"}  # named: no more than that
    assert shelf.index() == {}
    assert shelf.index("trip/Trash") == {"trip/Trash/c.mp4": "new"}
    assert shelf.index(exclude=[pattern]) == {f"trip/Trash/{name}.mp4": "removed" for name in "bc"}
    with pytest.raises(BadInput, match="No earlier run has left out 'Tresh'"):
        shelf.index(include=["Tresh"])
    assert set(shelf.index(include=[pattern])) == {"trip/Trash/b.mp4", "trip/Trash/c.mp4"}
    assert shelf.index() == {}


def test_a_pattern_holds_for_the_folder_that_it_was_given_for(shelf: Shelf) -> None:
    shelf.add("one/Trash/a.mp4", "two/Trash/b.mp4")
    assert shelf.index("one", exclude=["Trash"]) == {}
    assert shelf.index("two") == {"two/Trash/b.mp4": "new"}
    assert shelf.index() == {}


def test_what_is_left_out_moves_with_its_folder(shelf: Shelf) -> None:
    shelf.add("one/Trash/a.mp4", "one/b.mp4", "one/c.mp4")
    shelf.index("one", exclude=["Trash"])
    shelf.remove("one/c.mp4")
    (shelf.folder / "one").rename(shelf.folder / "two")
    relink_videos(shelf.folder / "one", shelf.folder / "two", shelf.store)
    assert shelf.index("two") == {}
    assert shelf.names() == {"two/b.mp4"}


@pytest.mark.parametrize(
    ("pattern", "where", "after"),
    [
        ("Trash", ("one", "two"), {("two", "Trash")}),
        ("./Trash", ("one", "two"), {("two", "two/Trash")}),
        ("Trash", ("one/in", "one/out"), {("one", "Trash")}),
        ("Trash", ("one/in", "two"), {("one", "Trash"), ("two", "Trash")}),
    ],
)
def test_a_pattern_stands_once_after_its_folder_has_moved(
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    where: tuple[str, str],
    after: set[tuple[str, str]],
) -> None:
    shelf.add("one/in/b.mp4", "one/Trash/a.mp4")
    monkeypatch.chdir(shelf.folder / "one")
    shelf.index("one", exclude=[pattern])
    old, new = (shelf.folder / name for name in where)
    relink_videos(old, new, shelf.store)
    assert read_left_out(shelf.store.path).patterns == {
        (shelf.folder / folder, str(shelf.folder / text) if "/" in text else text) for folder, text in after
    }


def test_a_removal_that_was_killed_is_finished_by_the_next_run(shelf: Shelf) -> None:
    shelf.add("a.mp4", "b.mp4")
    shelf.index()
    with shelf.store.writing() as writer:
        writer.leave_out(read_left_out(shelf.store.path).without([shelf.folder / "a.mp4"]))  # and then the process ends
    assert shelf.index() == {"a.mp4": "removed"}


def test_a_record_of_what_is_left_out_that_is_damaged_is_reported_and_mended(shelf: Shelf) -> None:
    shelf.add("a.mp4")
    shelf.index()
    (shelf.store.path / LEFT_OUT_FILE).write_text('{"removed": 3}')
    with pytest.raises(IndexDamaged, match="vidfind doctor --fix"):
        shelf.index()
    assert len(check_index(shelf.store.path)) == 1
    mend_index(shelf.store.path)
    assert (shelf.index(), check_index(shelf.store.path)) == ({}, [])


MANY = [f"{number}.mp4" for number in range(FEW_REMOVALS + 1)]


@pytest.fixture
def full(shelf: Shelf) -> Shelf:
    """A shelf with one video more than are removed without a question; each has contents of its own for the index."""
    shelf.add(*MANY, "other.mp4")
    shelf.index()
    rows = shelf.store.videos().values()
    with shelf.store.writing() as writer:
        writer.put([dataclasses.replace(row, content=number + 1) for number, row in enumerate(rows)])
    return shelf


def run(shelf: Shelf, **options: Any) -> list[object]:
    events = index_videos([shelf.folder], shelf.store, lambda: pytest.fail("no"), IndexOptions(**options))
    return [event for event in events if isinstance(event, NotRemoved)]


@pytest.mark.parametrize("how", ["excluded", "deleted"])
def test_many_videos_are_removed_only_when_that_is_confirmed(full: Shelf, how: str) -> None:
    options: dict[str, Any] = {"exclude": ["1*", "?.mp4", "20*"]} if how == "excluded" else {}
    if how == "deleted":
        for name in MANY:
            (full.folder / name).unlink()
    assert preview_index([full.folder], full.store.path, IndexOptions(**options)).lost == len(MANY)
    assert run(full, **options) == [NotRemoved(len(MANY))]
    assert full.names() == {*MANY, "other.mp4"}
    assert read_left_out(full.store.path).patterns == frozenset()
    asked: list[int] = []

    def agree(videos: int) -> bool:
        asked.append(videos)
        return True

    assert run(full, may_remove=agree, **options) == []
    assert (asked, full.names()) == ([len(MANY)], {"other.mp4"})


def test_few_videos_are_removed_and_so_are_many_that_are_there_by_another_path(full: Shelf) -> None:
    (full.folder / MANY[0]).unlink()
    assert run(full) == []
    (full.folder / "inner").mkdir()
    for name in MANY[1:]:
        (full.folder / name).rename(full.folder / "inner" / name)
    assert run(full) == []
    assert full.names() == {"other.mp4", *(f"inner/{name}" for name in MANY[1:])}
    for name in MANY[1:]:
        (full.folder / "inner" / name).unlink()
    assert run(full) == []
    assert full.names() == {"other.mp4"}
