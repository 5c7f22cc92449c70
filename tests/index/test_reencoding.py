"""An index and its adapter: what is encoded again, and what searches find before, meanwhile and afterwards."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from tests.support.ran import NewPlace
from tests.support.small_adapters import save_adapter
from tests.support.stored import copy_index, on_disk
from vidfind.commands import adapter_command
from vidfind.demo.collection import draw_collection
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import IndexBusy, IndexMismatch, ModelUnavailable
from vidfind.index.events import Event, Outcome, Reencoding, Switched, Waiting
from vidfind.index.options import IndexOptions
from vidfind.index.prepare import open_store, reencode_cost
from vidfind.index.run import index_videos
from vidfind.models.choice import default_adapter
from vidfind.models.default_adapters import set_default_adapter
from vidfind.models.load import load_choice
from vidfind.models.saved_adapters import remove_adapter
from vidfind.search.moments import search_moments
from vidfind.search.query import encode_query, load_query_encoder
from vidfind.search.question.filters import Filters
from vidfind.store.edit import remove_videos
from vidfind.store.folder import delete_index
from vidfind.store.places import lease
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import NEXT_FILE
from vidfind.store.status import Unfinished, index_status
from vidfind.store.store import Store
from vidfind.system.paths import NO_ADAPTER, adapter_path

Scores = dict[str, float]
Kind = TypeVar("Kind")


def load(choice: EncoderChoice) -> Encoder:
    """`load_choice`, which remembers: the tests load the same few encoders a hundred times."""
    adapter = choice.wanted_adapter
    path = adapter_path(adapter) if isinstance(adapter, str) else adapter
    content = path.read_bytes() if path and path.is_file() else adapter
    key = (dataclasses.replace(choice, adapter=None), content)
    if key not in loaded:
        loaded[key] = load_choice(choice, device="cpu")
    return loaded[key]


loaded: dict[object, Encoder] = {}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of three drawn videos each: made once, copied for each test."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed, name in enumerate(("one", "two")):
        list(draw_collection(folder / name, 3, seed))
    return folder


@dataclass
class Library:
    """Videos, an index of them, and what a user does with both."""

    films: Path
    path: IndexPath
    other: IndexPath
    """The place for another index."""
    said: list[str] = field(default_factory=list)

    def index(self, *folders: Path, stop_after: int | None = None, **asked: Any) -> list[Event]:
        """Like `vidfind index`; is stopped after so many videos if asked to."""
        self.said.clear()
        store, encoder = open_store(
            self.path, load, EncoderChoice(**asked), find_default=default_adapter, announce=self.said.append
        )
        events: list[Event] = []
        with closing(index_videos(folders, store, encoder)) as running:
            for event in running:
                events.append(event)
                if sum(isinstance(event, Outcome) for event in events) == stop_after:
                    break
        return events

    def search(self) -> Scores:
        """Like `vidfind search`, with the score of each video."""
        store = Store.open(self.path)
        encoder = load_query_encoder(store, load)
        moments = search_moments(
            store, encode_query(encoder, "a red circle moves left")[0], Filters(copies=True), limit=100
        )
        return {str(moment.path.relative_to(self.films)): moment.score for moment in moments}

    @property
    def store(self) -> Store:
        return Store.open(self.path)


@pytest.fixture(scope="session")
def indexed_once(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The videos, always copied to this place, and an index of them there without an adapter."""
    folder = tmp_path_factory.mktemp("indexed")
    library = Library(folder / "films", folder / "index", folder / "other")
    shutil.copytree(drawn, library.films)
    library.index(library.films / "one", library.films / "two", model="tiny", adapter=NO_ADAPTER)
    return library


@pytest.fixture
def library(
    drawn: Path, indexed_once: Library, new_place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Library:
    """Six videos in two folders, indexed without an adapter; the adapters `home`, `garden` and `words` (text only)."""
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    for seed, (name, kind) in enumerate({"home": "lora", "garden": "lora", "words": "text"}.items()):
        save_adapter(adapter_path(name), kind, seed)
    shutil.rmtree(indexed_once.films)
    shutil.copytree(drawn, indexed_once.films)
    return Library(
        indexed_once.films,
        copy_index(on_disk(indexed_once.path), new_place(tmp_path / "home")),
        new_place(tmp_path / "other"),
    )


def statuses(events: list[Event]) -> list[str]:
    return [event.status for event in events if isinstance(event, Outcome)]


def kinds(events: list[Event], wanted: type[Kind]) -> list[Kind]:
    return [event for event in events if isinstance(event, wanted)]


def fresh_scores(library: Library, adapter: str | None) -> Scores:
    """What a search finds in an index made anew with an adapter."""
    content = adapter_path(adapter).read_bytes() if adapter else b""
    if content not in searched:
        place = Path(tempfile.mkdtemp(dir=library.films.parent), "index")
        fresh = Library(library.films, place, place)
        fresh.index(library.films / "one", library.films / "two", model="tiny", adapter=adapter)
        searched[content] = fresh.search()
    return searched[content]


searched: dict[bytes, Scores] = {}


def test_an_index_made_with_an_adapter_is_searched_with_it_without_being_told(library: Library) -> None:
    plain, home = library.search(), fresh_scores(library, "home")
    assert home.keys() == plain.keys()
    assert home != pytest.approx(plain, abs=0.01)


def test_another_adapter_encodes_everything_again_and_then_searches_are_those_of_a_fresh_index(
    library: Library,
) -> None:
    events = library.index(library.films / "one", library.films / "two", adapter="home")
    assert statuses(events) == ["changed"] * 6
    assert isinstance(events[-1], Switched)
    assert library.store.settings.identity.adapter == "home"
    assert library.search() == pytest.approx(fresh_scores(library, "home"), abs=1e-3)


def test_the_cost_is_told_before_anything_is_encoded(library: Library) -> None:
    cost = reencode_cost(library.store)
    assert cost.videos == 6
    assert cost.footage == pytest.approx(sum(row.duration for row in library.store.videos().values()))
    assert cost.elapsed is not None and 0 < cost.elapsed < 60
    first = library.index(adapter="home")[0]
    assert first == Reencoding("home", cost)


def test_without_folders_all_of_the_index_and_nothing_else_is_encoded_again(library: Library, drawn: Path) -> None:
    shutil.copy(drawn / "one" / "clip-1.mp4", library.films / "one" / "never indexed.mp4")
    assert statuses(library.index(adapter="home")) == ["changed"] * 6
    assert len(library.search()) == 6


def test_one_folder_given_brings_all_the_others_along(library: Library, drawn: Path) -> None:
    shutil.copytree(drawn / "one", library.films / "three")
    (library.films / "three" / "clip-1.mp4").write_bytes(b"no video")
    events = library.index(library.films / "three", adapter="home")
    assert sorted(statuses(events)) == ["changed"] * 6 + ["failed"] + ["new"] * 2
    assert len(library.search()) == 8
    assert library.store.folders() == [library.films / name for name in ("one", "three", "two")]


def test_the_same_adapter_again_encodes_nothing_and_loads_nothing(library: Library) -> None:
    library.index(adapter="home")
    store, _ = open_store(library.path, no_encoder, EncoderChoice(adapter="home"))
    assert statuses(list(index_videos([library.films / "one"], store, no_encoder))) == ["unchanged"] * 3


def no_encoder(choice: EncoderChoice | None = None) -> Encoder:
    raise AssertionError("no encoder is needed here")


def test_no_adapter_leads_back_to_the_plain_model(library: Library) -> None:
    before = library.search()
    library.index(adapter="home")
    assert statuses(library.index(adapter=NO_ADAPTER)) == ["changed"] * 6
    assert library.search() == pytest.approx(before, abs=1e-3)


# Queries alone


def test_an_adapter_of_queries_alone_answers_at_once_and_encodes_nothing(library: Library) -> None:
    before = library.search()
    events = library.index(library.films / "one", library.films / "two", adapter="words")
    assert statuses(events) == ["unchanged"] * 6
    assert library.store.settings.identity.adapter == "words"
    assert "no video had to be read again" in library.said[0]
    after = library.search()
    assert after != pytest.approx(before, abs=0.01)
    assert after == pytest.approx(fresh_scores(library, "words"), abs=1e-3)
    assert library.index(adapter=NO_ADAPTER) == []
    assert library.search() == before


# Interrupted


def test_searches_use_the_old_vectors_until_an_interrupted_encoding_is_finished(library: Library) -> None:
    before = library.search()
    events = library.index(adapter="home", stop_after=2)
    assert statuses(events) == ["changed"] * 2
    assert library.search() == before
    unfinished = index_status(library.store).unfinished
    assert unfinished == Unfinished("home", 2, adapter_command(library.path, "home"))

    assert statuses(library.index(library.films / "one")) == ["unchanged"] * 3
    command = adapter_command(library.path, "home")
    assert library.said == [f"Encoding again with the adapter home is not finished. To go on with it: {command}"]
    events = library.index(adapter="home")
    assert sorted(statuses(events)) == ["changed"] * 4 + ["unchanged"] * 2
    assert kinds(events, Reencoding)[0].cost.videos == 4
    assert library.search() == pytest.approx(fresh_scores(library, "home"), abs=1e-3)
    assert index_status(library.store).unfinished is None


def test_what_changes_while_an_encoding_is_unfinished_is_in_it_at_the_end(library: Library, drawn: Path) -> None:
    events = library.index(adapter="home", stop_after=2)
    first, second = (event.path for event in events if isinstance(event, Outcome))
    first.rename(first.with_name("renamed.mp4"))
    remove_videos([second], library.store)
    second.unlink()
    shutil.copy(drawn / "two" / "clip-1.mp4", library.films / "one" / "added.mp4")
    library.index(library.films / "one", library.films / "two")
    before = set(library.search())
    events = library.index(adapter="home")
    assert kinds(events, Switched)
    assert set(library.search()) == before
    assert {path.name for path in library.store.videos()} >= {"renamed.mp4", "added.mp4"}
    assert statuses(events).count("moved") == 1


def test_a_third_adapter_gives_up_the_unfinished_one(library: Library) -> None:
    library.index(adapter="home", stop_after=2)
    library.index(adapter="garden", stop_after=1)
    assert library.said == ["Gave up encoding again with the adapter home, which was not finished."]
    assert index_status(library.store).unfinished == Unfinished("garden", 1, adapter_command(library.path, "garden"))
    before = library.search()
    assert library.index(adapter=NO_ADAPTER) == []  # the one in use: no other is wanted any more
    assert index_status(library.store).unfinished is None
    assert library.search() == before


def test_an_adapter_trained_anew_begins_again(library: Library) -> None:
    library.index(adapter="home", stop_after=2)
    save_adapter(adapter_path("home"), seed=99)
    assert statuses(library.index(adapter="home")) == ["changed"] * 6
    assert library.search() == pytest.approx(fresh_scores(library, "home"), abs=1e-3)


@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise there")
@pytest.mark.parametrize("when", ["to encode", '"changed"'], ids=["before encoding", "while encoding"])
def test_a_killed_encoding_leaves_an_index_that_answers_and_the_next_run_finishes(
    library: Library, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_TIME", 1.0)  # of one that is dead
    before = library.search()
    command = [sys.executable, "-m", "vidfind", "-v", "index", "--adapter", "home", "--device", "cpu", "--json"]
    command += ["--index", library.path.name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    while when not in (line := process.stdout.readline()):
        assert line
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if library.store.settings.identity.adapter is None:  # else it was done already
        assert library.search() == before
    library.index(adapter="home")
    assert library.store.settings.identity.adapter == "home"
    assert library.search() == pytest.approx(fresh_scores(library, "home"), abs=1e-3)


# Folders that are away


def test_videos_that_are_away_keep_the_old_vectors_in_use_until_they_are_back(library: Library, tmp_path: Path) -> None:
    before = library.search()
    two = library.films / "two"
    drive = two.rename(tmp_path / "unplugged")
    events = library.index(adapter="home")
    [waiting] = kinds(events, Waiting)
    assert [(offline.folder, offline.videos) for offline in waiting.offline] == [(two, 3)]
    assert waiting.command == adapter_command(library.path, "home")
    assert not kinds(events, Switched)
    assert library.search() == before

    drive.rename(two)
    events = library.index(adapter="home")
    assert sorted(statuses(events)) == ["changed"] * 3 + ["unchanged"] * 3
    assert kinds(events, Switched)
    assert len(library.search()) == 6


def test_videos_that_are_away_can_be_forgotten_instead(library: Library, tmp_path: Path) -> None:
    (library.films / "two").rename(tmp_path / "unplugged")
    library.index(adapter="home")
    remove_videos([library.films / "two"], library.store)
    assert kinds(library.index(adapter="home"), Switched)
    assert len(library.search()) == 3


def test_a_drive_that_has_another_path_now_is_not_waited_for(library: Library) -> None:
    moved = (library.films / "two").rename(library.films / "drive")
    events = library.index(moved, adapter="home")
    assert sorted(statuses(events)) == ["changed"] * 3 + ["new"] * 3
    assert kinds(events, Switched)
    assert set(library.store.videos()) == set(library.films.rglob("*.mp4"))


def test_a_deleted_video_and_one_that_fails_do_not_hinder(library: Library) -> None:
    gone, broken, *_ = sorted((library.films / "one").iterdir())
    gone.unlink()
    broken.write_bytes(b"no video any more")
    events = library.index(adapter="home")
    assert sorted(statuses(events)) == ["changed"] * 4 + ["failed", "removed"]
    assert kinds(events, Switched)
    assert len(library.search()) == 4


# The copy of the adapter


@pytest.mark.parametrize("what", ["overwritten", "written into", "removed"])
def test_an_index_keeps_its_adapter_whatever_becomes_of_the_original(library: Library, what: str) -> None:
    library.index(adapter="home")
    before = library.search()
    if what == "overwritten":
        save_adapter(adapter_path("home"), seed=99)
    elif what == "written into":
        adapter_path("home").write_bytes(adapter_path("garden").read_bytes())
    else:
        remove_adapter("home")
    assert library.search() == before
    (library.films / "one" / "clip-1.mp4").rename(library.films / "one" / "new.mp4")
    shutil.copy(library.films / "two" / "clip-1.mp4", library.films / "one" / "copy.mp4")
    assert sorted(statuses(library.index(library.films / "one"))) == ["moved", "new", "unchanged", "unchanged"]
    assert len(library.search()) == 7


def test_an_index_refuses_the_encoder_of_another_adapter(library: Library) -> None:
    library.index(adapter="home")
    other = load(EncoderChoice("tiny", adapter="garden"))
    with pytest.raises(
        IndexMismatch, match=r"adapter home, not garden.* again: vidfind index --adapter garden( --index|$)"
    ):
        list(index_videos([library.films], library.store, lambda: other, IndexOptions(force=True)))
    with pytest.raises(IndexMismatch, match="adapter home, not garden"):
        load_query_encoder(library.store, lambda choice: other)


def test_the_command_that_mends_an_index_works_also_when_its_adapter_was_removed(library: Library) -> None:
    library.index(adapter="home")
    remove_adapter("home")
    with pytest.raises(IndexMismatch, match="segment length") as raised:
        library.store.require(EncoderChoice(), segment_length=5.0)
    copy = str(library.store.adapter)
    assert f"beside it: vidfind adapters import {copy} && vidfind index {library.films}" in str(raised.value)
    assert "--adapter home --segment 5 --index NAME" in str(raised.value)
    with pytest.raises(IndexMismatch) as raised:
        library.store.require(EncoderChoice(encoder="mean"))
    assert "--adapter" not in str(raised.value)


def test_an_adapter_of_another_model_is_refused_with_what_can_be_done(library: Library) -> None:
    save_adapter(adapter_path("large"), model="ViT-L-14", pretrained="laion2b_s32b_b82k", weights_digest="")
    with pytest.raises(IndexMismatch, match=r"model tiny, not ViT-L-14.*--model ViT-L-14 .*--adapter large --index"):
        library.index(adapter="large")
    save_adapter(adapter_path("other"), weights_digest="of other weights")
    with pytest.raises(ModelUnavailable, match="trained on other weights"):
        library.index(adapter="other")
    assert library.store.settings.identity.adapter is None
    assert library.store.unfinished() is None


# Files


@pytest.mark.on_disk
def test_what_was_in_use_before_is_cleared_an_hour_later(library: Library) -> None:
    library.index(adapter="home")
    library.index(adapter="garden")
    before = library.search()
    assert len(list(library.path.glob("*.lance"))) == 6
    library.index(library.films / "one")
    assert len(list(library.path.glob("*.lance"))) == 6
    hours_ago = time.time() - 7200
    os.utime(on_disk(library.path) / "settings.json", (hours_ago, hours_ago))
    library.index(library.films / "one")
    assert sorted(file.name for file in library.path.glob("*.lance")) == ["segments-2.lance", "videos-2.lance"]
    assert list(library.path.glob("adapter-*")) == [library.store.adapter]
    assert library.search() == before


def test_a_search_that_began_before_the_switch_still_finds(library: Library) -> None:
    store = library.store
    library.index(adapter="home")
    vector = np.ones(store.dim, np.float32)
    assert len(search_moments(store, vector, Filters(copies=True), limit=100)) == 6


def test_a_run_that_began_before_the_switch_is_told_to_begin_again(library: Library) -> None:
    store = library.store
    library.index(adapter="words")
    with pytest.raises(IndexBusy, match="run the command again"):
        list(index_videos([library.films], store, lambda: load(EncoderChoice("tiny"))))


def test_deleting_an_index_deletes_all_its_tables_and_adapters(library: Library) -> None:
    library.index(adapter="home")
    library.index(adapter="garden", stop_after=1)
    assert (library.path / NEXT_FILE).exists()
    delete_index(library.path)
    assert not library.path.exists()


# The default adapter


def fresh(library: Library, **asked: Any) -> tuple[Store, list[str]]:
    said: list[str] = []
    store, _ = open_store(
        library.other, load, EncoderChoice("tiny", **asked), find_default=default_adapter, announce=said.append
    )
    return store, said


def test_a_new_index_uses_the_default_adapter_and_says_so(library: Library) -> None:
    set_default_adapter("home")
    store, said = fresh(library)
    assert (store.settings.identity.adapter, said) == (
        "home",
        ["Using the adapter home, the default for this model; --adapter none does without."],
    )
    library.index(library.films / "one")
    assert library.store.settings.identity.adapter is None  # one that is there keeps its own


def test_a_new_index_does_without_the_default_adapter_when_asked(library: Library) -> None:
    set_default_adapter("home")
    store, said = fresh(library, adapter=NO_ADAPTER)
    assert (store.settings.identity.adapter, said) == (None, [])


@pytest.mark.parametrize("what", ["missing", "broken", "no list", "other weights", "other encoder"])
def test_a_default_adapter_that_is_of_no_use_does_not_hinder(library: Library, what: str) -> None:
    set_default_adapter("home")
    asked = {}
    if what == "missing":
        adapter_path("home").unlink()
    elif what == "broken":
        adapter_path("home").write_bytes(b"broken")
    elif what == "no list":
        adapter_path("home").with_name("default.json").write_text("[1")
    elif what == "other weights":
        save_adapter(adapter_path("home"), weights_digest="of other weights")
    else:
        asked["encoder"] = "mean"
    store, said = fresh(library, **asked)
    assert store.settings.identity.adapter is None
    assert len(said) == (what in ("other weights", "other encoder"))
