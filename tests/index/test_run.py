import itertools
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.support.drives import set_mounts
from tests.support.films import LENGTHS
from tests.support.indexing import Index, never, outcomes_of, statuses
from tests.support.stored import put
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice
from vidfind.encoders.stream import Progress
from vidfind.errors import IndexBusy
from vidfind.index.events import Event, Offline, Outcome, Vanished
from vidfind.index.prepare import open_store
from vidfind.index.run import index_videos
from vidfind.media import decoding
from vidfind.media.messages import Clip, Queued
from vidfind.media.sampling import split_segments
from vidfind.media.write import write_video
from vidfind.search.moments import search_moments
from vidfind.search.query import encode_query
from vidfind.search.question.filters import Filters
from vidfind.store.status import index_status
from vidfind.store.store import Embedded, Store


def scores(store: Store, encoder: Encoder) -> dict[Path, float]:
    moments = search_moments(
        store, encode_query(encoder, "a red circle moves left")[0], Filters(copies=True), limit=100
    )
    return {moment.path: moment.score for moment in moments}


def test_new_videos_are_indexed_segment_by_segment(index: Index, library: Path, film_store: Store) -> None:
    outcomes = index(library)
    assert statuses(outcomes) == {"a.mp4": "new", "b.mp4": "new", "long.mp4": "new"}
    assert {name: outcome.segments for name, outcome in outcomes.items()} == {"a.mp4": 1, "b.mp4": 1, "long.mp4": 3}
    assert outcomes["long.mp4"].seconds == pytest.approx(31, abs=0.3)
    row = film_store.videos()[library / "inner" / "long.mp4"]
    assert (row.folder, row.width, row.height, row.codec) == (library, 96, 64, "h264")


def test_vectors_are_those_of_each_segment_by_itself(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    index(library, sampling="exact")
    path = library / "inner" / "long.mp4"
    row = film_store.videos()[path]
    segments = split_segments(row.duration, 10)
    for segment in segments:
        [clip] = decoding.read_clips(path, [segment], tiny_encoder.num_frames, tiny_encoder.view)
        hit = film_store.search(tiny_encoder.encode_video(clip[np.newaxis])[0].numpy(), 1, [row.content])[0]
        assert (hit.start, hit.end) == (segment.start, segment.end)
        assert hit.score == pytest.approx(1, abs=2e-3)


def test_a_second_run_finds_nothing_to_do_and_loads_no_encoder(index: Index, library: Path, film_store: Store) -> None:
    index(library)
    events = list(index_videos([library], film_store, never))
    assert [event.status for event in events if isinstance(event, Outcome)] == ["unchanged"] * 3


def test_progress_ends_with_all_footage_and_files(library: Path, film_store: Store, tiny_encoder: Encoder) -> None:
    progress = [
        event for event in index_videos([library], film_store, lambda: tiny_encoder) if isinstance(event, Progress)
    ]
    assert (progress[-1].done_files, progress[-1].total_files) == (3, 3)
    assert progress[-1].done_seconds == pytest.approx(34, abs=0.5)
    assert progress[-1].total_seconds == pytest.approx(progress[-1].done_seconds)


def test_a_renamed_video_is_moved_and_found_under_its_new_name(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    index(library)
    before = scores(film_store, tiny_encoder)
    (library / "a.mp4").rename(library / "inner" / "renamed.mp4")
    outcomes = outcomes_of(index_videos([library], film_store, never))
    assert statuses(outcomes) == {"renamed.mp4": "moved", "b.mp4": "unchanged", "long.mp4": "unchanged"}
    assert str(library / "a.mp4") in outcomes["renamed.mp4"].message
    after = scores(film_store, tiny_encoder)
    assert after.pop(library / "inner" / "renamed.mp4") == before.pop(library / "a.mp4")
    assert after == before


def test_a_drive_that_has_another_path_now_is_not_encoded_again(index: Index, library: Path, film_store: Store) -> None:
    index(library)
    drive = library.rename(library.with_name("drive"))
    outcomes = [event for event in index_videos([drive], film_store, never) if isinstance(event, Outcome)]
    assert [outcome.status for outcome in outcomes] == ["moved"] * 3
    assert set(film_store.videos()) == {drive / name for name in LENGTHS}
    assert film_store.folders() == [drive]


@pytest.mark.skipif(os.name == "nt", reason="names are always Unicode there")
def test_a_video_with_any_name_is_indexed(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    path = Path(os.fsdecode(os.fsencode(library) + b"/it's\n100%\xff \xf0\x9f\x90\xb6.mp4"))
    (library / "a.mp4").rename(path)
    assert index(library)[path.name].status == "new"
    assert path in scores(film_store, tiny_encoder)
    assert index(library)[path.name].status == "unchanged"


def test_a_touched_video_is_not_encoded_again(index: Index, library: Path, film_store: Store) -> None:
    index(library)
    os.utime(library / "a.mp4", (1, 1))
    assert set(statuses(outcomes_of(index_videos([library], film_store, never))).values()) == {"unchanged"}
    assert film_store.videos()[library / "a.mp4"].mtime_ns == 10**9


def test_a_video_replaced_by_another_is_changed(index: Index, library: Path, film_store: Store) -> None:
    index(library)
    write_video(library / "b.mp4", np.zeros((20, 64, 96, 3), np.uint8), 4)
    outcomes = index(library)
    assert outcomes["b.mp4"].status == "changed"
    assert outcomes["b.mp4"].seconds == pytest.approx(5, abs=0.3)
    assert index_status(film_store).segments == 5


def test_a_copy_is_indexed_without_encoding(index: Index, library: Path, film_store: Store) -> None:
    index(library)
    shutil.copy(library / "b.mp4", library / "copy.mp4")
    copy = outcomes_of(index_videos([library], film_store, never))["copy.mp4"]
    assert copy.message == f"the same as {copy.same_as}"
    assert (copy.same_as, copy.is_copy) == (library / "b.mp4", True)


def test_equal_new_videos_are_encoded_once_and_both_found(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    shutil.copy(library / "b.mp4", library / "copy.mp4")
    assert statuses(index(library))["copy.mp4"] == "new"
    rows = film_store.videos()
    assert rows[library / "b.mp4"].content == rows[library / "copy.mp4"].content
    found = scores(film_store, tiny_encoder)
    assert found[library / "b.mp4"] == found[library / "copy.mp4"]


def test_a_deleted_video_is_removed(index: Index, library: Path, film_store: Store, tiny_encoder: Encoder) -> None:
    index(library)
    (library / "b.mp4").unlink()
    assert statuses(index(library))["b.mp4"] == "removed"
    assert library / "b.mp4" not in scores(film_store, tiny_encoder)


def test_an_excluded_video_is_removed_and_the_reason_told(index: Index, library: Path) -> None:
    index(library)
    outcomes = index(library, exclude=["inner"])
    assert (outcomes["long.mp4"].status, bool(outcomes["long.mp4"].message)) == ("removed", True)


@pytest.mark.parametrize("mountpoint_stays", [False, True], ids=["folder gone", "folder empty"])
def test_videos_of_a_folder_that_is_not_there_are_kept(
    index: Index,
    library: Path,
    film_store: Store,
    tiny_encoder: Encoder,
    mountpoint_stays: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_mounts(monkeypatch, library)
    index(library)
    before = scores(film_store, tiny_encoder)
    library.rename(library.with_name("elsewhere"))
    set_mounts(monkeypatch)
    if mountpoint_stays:
        library.mkdir()
    assert list(index_videos([library], film_store, never)) == [Offline(library, 3)]
    assert scores(film_store, tiny_encoder) == before


def test_an_unreadable_video_is_recorded_and_the_others_are_indexed(
    index: Index, library: Path, film_store: Store
) -> None:
    (library / "empty.mp4").touch()
    (library / "text.mp4").write_text("this is not a video\n" * 100)
    outcomes = index(library)
    assert statuses(outcomes) == {
        "a.mp4": "new",
        "b.mp4": "new",
        "long.mp4": "new",
        "empty.mp4": "failed",
        "text.mp4": "failed",
    }
    assert outcomes["empty.mp4"].message
    assert [row.path.name for row in index_status(film_store).failed] == ["empty.mp4", "text.mp4"]


def test_an_unreadable_video_is_tried_again_only_when_it_changes_or_by_force(
    index: Index, library: Path, film_store: Store
) -> None:
    bad = library / "a.mp4"
    good = bad.read_bytes()
    bad.write_bytes(b"")
    assert index(library)["a.mp4"].is_news
    for named, is_news in ((library, False), (bad, True)):  # who names the very file wants to hear of it
        outcome = outcomes_of(index_videos([named], film_store, never))["a.mp4"]
        assert (outcome.status, outcome.was_tried_before, outcome.is_news) == ("failed", True, is_news)
    outcome = index(bad, force=True)["a.mp4"]
    assert (outcome.status, outcome.was_tried_before, outcome.is_news) == ("failed", False, True)
    bad.write_bytes(good)
    assert index(library)["a.mp4"].status == "changed"
    assert index_status(film_store).failed == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_video_without_permission_is_tried_again_every_time(index: Index, library: Path) -> None:
    (library / "a.mp4").chmod(0)
    assert index(library)["a.mp4"].status == "failed"
    (library / "a.mp4").chmod(0o600)
    assert index(library)["a.mp4"].status == "changed"


def test_a_video_that_vanishes_meanwhile_fails_and_is_gone_the_next_time(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    def load() -> Encoder:
        (library / "b.mp4").unlink()
        return tiny_encoder

    events = list(index_videos([library], film_store, load))
    assert {event.path.name: event.status for event in events if isinstance(event, Outcome)}["b.mp4"] == "failed"
    assert "b.mp4" not in statuses(index(library))


def test_force_encodes_again(index: Index, library: Path, film_store: Store, tiny_encoder: Encoder) -> None:
    index(library)
    before = scores(film_store, tiny_encoder)
    assert set(statuses(index(library, force=True)).values()) == {"changed"}
    assert scores(film_store, tiny_encoder) == pytest.approx(before, abs=1e-3)
    assert index_status(film_store).segments == 5


def test_a_run_that_is_interrupted_keeps_what_is_done_and_the_next_goes_on(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    with closing(index_videos([library], film_store, lambda: tiny_encoder)) as events:
        first = next(event for event in events if isinstance(event, Outcome))
    assert list(film_store.videos()) == [first.path]
    assert sorted(statuses(index(library)).values()) == ["new", "new", "unchanged"]
    assert not any(thread.name.startswith("decode") for thread in threading.enumerate())


def test_ctrl_c_while_encoding_keeps_what_is_done(
    library: Path, film_store: Store, tiny_encoder: Encoder, index: Index
) -> None:
    calls = itertools.count()

    class Interrupted:
        """The tiny encoder, under which Ctrl-C is pressed at the third clip."""

        def __getattr__(self, name: str) -> object:
            return getattr(tiny_encoder, name)

        def encode_video(self, clips: np.ndarray) -> object:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return tiny_encoder.encode_video(clips)

        batch_size = 2

    done: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        done.extend(index_videos([library], film_store, Interrupted))  # type: ignore[arg-type]
    stored = set(film_store.videos())
    assert {event.path for event in done if isinstance(event, Outcome)} <= stored < set(library.rglob("*.mp4"))
    index(library)
    assert len(film_store.videos()) == 3


def test_what_a_killed_run_left_is_cleared(
    index: Index, library: Path, film_store: Store, tiny_encoder: Encoder
) -> None:
    vectors = np.ones((2, tiny_encoder.dim), np.float32)
    put(film_store, [], [Embedded(12345, [(0, 10), (10, 20)], vectors)])
    index(library)
    assert {hit.content for hit in film_store.search(vectors[0], 100)} == {
        row.content for row in film_store.videos().values()
    }


def test_a_run_while_another_one_writes_is_refused(library: Path, film_store: Store) -> None:
    with film_store.writing(), pytest.raises(IndexBusy):
        list(index_videos([library], Store.open(film_store.path), never))


def test_segments_have_the_length_asked_for(library: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    store, load = open_store(tmp_path / "short", lambda choice: tiny_encoder, EncoderChoice(), 5.0)
    for _ in index_videos([library], store, load):
        pass
    assert store.videos()[library / "inner" / "long.mp4"].segments == 6


def test_decoding_delivers_each_video_in_order_and_in_small_batches(made: Path) -> None:
    paths: Sequence[Path] = [made / name for name in LENGTHS]
    batches = list(decoding.decode_ahead(paths, 10.0, 4, 32, batch_size=2))
    assert max(sum(isinstance(message, Clip) for message in batch) for batch in batches) <= 2
    messages = list(itertools.chain.from_iterable(batches))
    for path in paths:
        own = [message for message in messages if message.path == path and not isinstance(message, Queued)]
        kinds = [type(message).__name__ for message in own]
        assert kinds == ["Opened", *["Clip"] * (len(kinds) - 2), "Done"]


def test_what_can_be_read_of_a_damaged_video_is_indexed_and_the_rest_told(
    tmp_path: Path, tiny_encoder: Encoder
) -> None:
    (tmp_path / "films").mkdir()
    shutil.copy(Path(__file__).parent.parent / "clips" / "damaged.mp4", tmp_path / "films")
    store, load = open_store(tmp_path / "short", lambda choice: tiny_encoder, EncoderChoice(), 0.3)
    [outcome] = [event for event in index_videos([tmp_path / "films"], store, load) if isinstance(event, Outcome)]
    assert outcome.status == "new"
    assert 0 < outcome.segments < 10
    assert outcome.damage == "is damaged: nothing after 0:01 of 0:03 can be decoded"
    assert index_status(store).segments == outcome.segments
    assert [row.damage for row in store.videos().values()] == [outcome.damage]


@pytest.mark.parametrize("name", ["damaged.mp4", "bad_block.mp4", "h264.mp4", "vfr.mkv", "long.ts", "no_cues.mkv"])
def test_a_video_that_cannot_be_decoded_to_its_end_is_marked_and_no_other(
    tmp_path: Path, clips: Path, film_store: Store, index: Index, name: str
) -> None:
    shutil.copy(clips / name, tmp_path)
    assert bool(index(tmp_path / name)[name].damage) == (name == "damaged.mp4")


def test_a_video_that_ends_early_is_marked(tmp_path: Path, clips: Path, film_store: Store, index: Index) -> None:
    (tmp_path / "films").mkdir()
    shutil.copy(clips / "truncated.mp4", tmp_path / "films")
    outcome = index(tmp_path / "films")["truncated.mp4"]
    assert (outcome.status, outcome.damage) == ("new", "ends early: 0:02 of 0:03 is there")
    shutil.copy(clips / "h264.mp4", tmp_path / "films" / "truncated.mp4")  # the download goes on
    outcome = index(tmp_path / "films")["truncated.mp4"]
    assert (outcome.status, outcome.damage) == ("changed", "")


def test_a_folder_that_goes_away_meanwhile_is_told_once_and_nothing_of_it_is_lost(
    library: Path, film_store: Store, tiny_encoder: Encoder, index: Index
) -> None:
    index(library / "a.mp4")
    away = library.with_name("away")

    def load() -> Encoder:
        library.rename(away)
        return tiny_encoder

    events = [event for event in index_videos([library], film_store, load) if not isinstance(event, Progress)]
    assert [event.status for event in events if isinstance(event, Outcome)] == ["unchanged"]
    assert events[-1] == Vanished(library, 2)
    assert list(film_store.videos()) == [library / "a.mp4"]
    away.rename(library)
    assert sorted(statuses(index(library)).values()) == ["new", "new", "unchanged"]


def test_what_is_changing_still_is_neither_encoded_nor_forgotten(
    index: Callable[..., dict[str, Outcome]], film_store: Store, library: Path
) -> None:
    index(library)
    stored = film_store.videos()
    (library / "inner" / "long.mp4").unlink()
    (library / "a.mp4").write_bytes(b"half of a copy")
    (library / "new.mp4").write_bytes(b"half of a recording")
    leave = frozenset({library / "inner", library / "a.mp4", library / "new.mp4"})
    assert statuses(index(library, ignored=leave)) == {"b.mp4": "unchanged"}
    assert film_store.videos() == stored
    assert statuses(index(library)) == {
        "a.mp4": "failed",
        "new.mp4": "failed",
        "b.mp4": "unchanged",
        "long.mp4": "removed",
    }


def test_a_video_is_not_encoded_again_while_its_old_name_is_left_alone(
    index: Callable[..., dict[str, Outcome]], library: Path
) -> None:
    index(library)
    old, new = library / "b.mp4", library / "moved.mp4"
    old.rename(new)
    outcome = index(library, ignored=frozenset({old}))["moved.mp4"]
    assert (outcome.status, outcome.same_as) == ("new", old)
    assert statuses(index(library))["b.mp4"] == "removed"
