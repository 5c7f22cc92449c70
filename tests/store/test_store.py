import dataclasses
import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.rows import DAY, DIM, contents_found, embed, make_row, unit_vectors
from tests.support.stored import begin_again, compact, put, remove
from vidfind.commands import delete_command
from vidfind.encoders.names import EncoderChoice
from vidfind.errors import IndexBusy, IndexMismatch, IndexNotFound
from vidfind.store.folder import delete_index
from vidfind.store.settings import FORMAT_VERSION, IndexSettings
from vidfind.store.status import index_status
from vidfind.store.store import Store
from vidfind.store.tables import ADDED_COLUMNS, VideoRow, path_from_text, path_to_text
from vidfind.system.mounts import Place


def test_a_video_comes_back_as_it_was_put(store: Store) -> None:
    place = Place(Path("/media/me/a b"), "12-ab", "17")
    row = make_row("/videos/a.mp4", width=1920, height=1080, codec="hevc", place=place)
    put(store, [row], [embed(row)])
    assert Store.open(store.path).videos() == {row.path: row}


@pytest.mark.parametrize(
    "name", [b"it's.mp4", b"two\nlines.mp4", "dog \N{DOG FACE} %41.mp4".encode(), b"not \xff unicode.mp4", b"a\\b.mp4"]
)
def test_any_file_name_can_be_stored_found_and_removed(store: Store, name: bytes) -> None:
    path = Path(os.fsdecode(b"/videos/" + name))
    assert path_from_text(path_to_text(path)) == path
    row = dataclasses.replace(make_row("/videos/x"), path=path)
    put(store, [row], [embed(row)])
    assert list(store.videos()) == [path]
    remove(store, [path])
    assert store.videos() == {}


def test_hits_are_the_most_alike_segments_with_their_cosine(store: Store) -> None:
    rows = [make_row(f"/videos/{i}.mp4", 5) for i in range(20)]
    embedded = [embed(row, seed) for seed, row in enumerate(rows)]
    put(store, rows, embedded)
    query = unit_vectors(1, seed=99)[0]
    expected = sorted((float(vector @ query) for one in embedded for vector in one.vectors), reverse=True)
    scores = [hit.score for hit in store.search(query, 10)]
    assert scores == pytest.approx(expected[:10], abs=2e-3)  # vectors are stored in float16
    assert [hit.content for hit in store.search(embedded[7].vectors[3], 1)] == [rows[7].content]


def test_no_video_is_stored_twice_in_whatever_order_new_and_known_ones_are_put(store: Store) -> None:
    chance = random.Random(5)
    expected: dict[Path, VideoRow] = {}
    with store.writing() as writer:
        for _ in range(25):
            rows = [make_row(f"/v/{chance.randrange(60)}.mp4") for _ in range(chance.randrange(1, 5))]
            if chance.random() < 0.2:
                writer.remove([row.path for row in rows])
                expected = {path: row for path, row in expected.items() if path not in {row.path for row in rows}}
            else:
                writer.put(rows)
                expected |= {row.path: row for row in rows}
    assert store.videos() == expected
    assert store.count_videos() == len(expected)


def test_a_search_can_be_limited_to_some_videos(store: Store) -> None:
    rows = [make_row(f"/videos/{i}.mp4") for i in range(5)]
    put(store, rows, [embed(row, seed) for seed, row in enumerate(rows)])
    query = unit_vectors(1)[0]
    assert {hit.content for hit in store.search(query, 100, [rows[3].content])} == {rows[3].content}
    assert store.search(query, 100, []) == []


def test_many_videos_are_stored_in_two_commits(store: Store) -> None:
    before = store.tables.videos.version, store.tables.segments.version
    rows = [make_row(f"/videos/{i}.mp4") for i in range(64)]
    put(store, rows, [embed(row) for row in rows])
    assert (store.tables.videos.version - before[0], store.tables.segments.version - before[1]) == (1, 1)


def test_a_video_encoded_again_loses_its_old_vectors_when_compacted(store: Store) -> None:
    old, new = make_row("/videos/a.mp4", 3), make_row("/videos/a.mp4", 2)
    put(store, [old], [embed(old)])
    put(store, [new], [embed(new)])
    compact(store)
    assert contents_found(store) == {new.content}
    assert index_status(store).segments == 2


def test_vectors_without_a_video_are_cleared_when_compacted(store: Store) -> None:
    put(store, [], [embed(make_row("/videos/killed.mp4"))])
    compact(store)
    assert contents_found(store) == set()


@pytest.mark.on_disk  # in object storage it may be what another machine writes just now: it stays for seven days
def test_what_a_killed_process_has_half_written_is_cleared_when_compacted(store: Store) -> None:
    put(store, [row := make_row("/videos/a.mp4")], [embed(row)])
    data = store.path / "segments.lance" / "data"
    whole = set(data.iterdir())
    for name in (".tmpJ7bZ1q", "000111.lance", "101010.lance#1"):
        (data / name).write_bytes(b"half a file")
    (store.path / ".settings.json.part").write_text("{")
    with store.writing() as writer:
        writer.compact(timedelta(milliseconds=1))
    assert set(data.iterdir()) == whole
    assert not (store.path / ".settings.json.part").exists()
    assert contents_found(store) == {row.content}


def test_a_copy_shares_its_vectors_and_keeps_them_when_the_original_goes(store: Store) -> None:
    original = make_row("/videos/a.mp4")
    copy = dataclasses.replace(original, path=Path("/videos/b.mp4"))
    put(store, [original], [embed(original)])
    put(store, [copy])
    remove(store, [original.path])
    compact(store)
    assert contents_found(store) == {copy.content}


def test_removing_what_is_not_there_does_nothing(store: Store) -> None:
    remove(store, [Path("/videos/nothing.mp4")])
    assert store.videos() == {}


def test_status_counts_footage_failures_damage_and_folders(store: Store, tmp_path: Path) -> None:
    good = make_row("/videos/a.mp4", 3, duration=1800.0)
    inner = make_row("/videos/inner/b.mp4", 1, duration=1800.0, folder=Path("/videos/inner"), damage="ends early")
    bad = VideoRow(tmp_path / "bad.mp4", tmp_path, 10, 5, "", DAY, DAY, failed="it is empty")
    put(store, [good, inner, bad], [embed(good), embed(inner)])
    status = index_status(store)
    assert (status.videos, status.hours, status.segments) == (2, 1.0, 4)
    assert status.failed == [bad]
    assert status.folders == sorted([Path("/videos"), tmp_path])
    assert status.damaged == [inner]
    assert status.size_on_disk > 1000


@pytest.mark.on_disk  # a bucket may hold too much to look for other indexes
def test_an_index_that_is_not_there_is_named_with_the_others_and_the_command(store: Store) -> None:
    with pytest.raises(
        IndexNotFound, match=rf"'films'.*there is: {store.path.name}.*vidfind index FOLDER --index films"
    ):
        Store.open(store.path.parent / "films")


def test_an_index_of_a_later_format_is_refused(store: Store) -> None:
    file = store.path / "settings.json"
    file.write_text(file.read_text().replace(f'"format": {FORMAT_VERSION}', '"format": 99'))
    with pytest.raises(IndexMismatch, match="format is 99"):
        Store.open(store.path)


@pytest.mark.parametrize(
    ("version", "missing"), [(1, [*ADDED_COLUMNS]), (2, [*ADDED_COLUMNS][1:]), (3, [])], ids=["1", "2", "3"]
)
def test_an_index_of_an_older_format_is_read_as_it_is_and_brought_up_to_date_when_written(
    store: Store, version: int, missing: list[str]
) -> None:
    row = make_row("/videos/a.mp4")
    put(store, [row], [embed(row)])
    if missing:
        store.tables.videos.drop_columns(missing)
    file = store.path / "settings.json"
    file.write_text(file.read_text().replace(f'"format": {FORMAT_VERSION}', f'"format": {version}'))

    old = Store.open(store.path)
    assert old.videos() == {row.path: row}
    assert f'"format": {version}' in file.read_text()
    damaged = make_row("/videos/b.mp4", damage="ends early", created_from="name")
    with old.writing() as writer:
        writer.put([damaged], [embed(damaged)])
    assert Store.open(store.path).videos() == {row.path: row, damaged.path: damaged}
    assert f'"format": {FORMAT_VERSION}' in file.read_text()


def test_an_unfinished_encoding_of_an_older_format_is_brought_up_to_date_too(store: Store) -> None:
    row = make_row("/videos/a.mp4")
    begun = begin_again(store)
    for one, file in ((store, "settings.json"), (begun, "settings.next.json")):
        put(one, [row], [embed(row)])
        one.tables.videos.drop_columns([*ADDED_COLUMNS])
        (one.path / file).write_text(
            (one.path / file).read_text().replace(f'"format": {FORMAT_VERSION}', '"format": 1')
        )

    with Store.open(store.path).writing():
        pass
    damaged = make_row("/videos/b.mp4", damage="ends early")
    unfinished = Store.open(store.path).unfinished()
    assert unfinished
    for one in (Store.open(store.path), unfinished):
        assert one.videos() == {row.path: row}
        put(one, [damaged], [embed(damaged)])
        assert one.videos()[damaged.path] == damaged


def test_settings_that_differ_are_refused_with_a_command_for_the_shell(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "my videos"
    folder.mkdir()
    (folder / "a.mp4").touch()
    rows = [make_row(f"{path}/a.mp4", folder=path) for path in (folder, Path("/unplugged"))]
    put(store, rows, [embed(row) for row in rows])
    store.require_identity(store.settings.identity)
    with pytest.raises(IndexMismatch) as raised:
        store.require(EncoderChoice(encoder="mean"))
    message = str(raised.value)
    assert "encoder tempme, not mean" in message
    made = f'vidfind index "{folder}" --model tiny --pretrained builtin --encoder mean'
    assert f"{delete_command(store.path)} && {made}" in message


def test_the_same_weights_by_another_name_are_accepted(store: Store) -> None:
    identity = store.settings.identity
    store.require_identity(dataclasses.replace(identity, pretrained="/elsewhere/tiny.safetensors"))
    with pytest.raises(IndexMismatch, match="other weights"):
        store.require_identity(dataclasses.replace(identity, weights_digest="changed"))


def test_only_an_index_without_videos_is_replaced(store: Store) -> None:
    other = IndexSettings(dataclasses.replace(store.settings.identity, encoder="mean"))
    assert Store.create(store.path, other, 2 * DIM).dim == 2 * DIM
    assert Store.open(store.path).settings == other
    put(Store.open(store.path), [make_row("/videos/a.mp4")])
    with pytest.raises(IndexMismatch, match="already is an index"):
        Store.create(store.path, store.settings, DIM)


def test_one_process_at_a_time_writes(store: Store) -> None:
    program = (
        "import sys; from pathlib import Path; from vidfind.store.places.path import RemotePath\n"
        "from vidfind.store.store import Store\n"
        "path = (RemotePath if '://' in sys.argv[1] else Path)(sys.argv[1])\n"
        "with Store.open(path).writing(): print('writing')"
    )
    command = [sys.executable, "-c", program, str(store.path)]
    with store.writing():
        other = subprocess.run(command, capture_output=True, text=True)
        assert IndexBusy.__name__ in other.stderr
    assert subprocess.run(command, capture_output=True, text=True).stdout == "writing\n"


def test_an_index_is_neither_deleted_nor_made_anew_while_it_is_written(store: Store) -> None:
    other = Store.open(store.path)
    with store.writing() as writer:
        for attempt in (
            lambda: delete_index(store.path),
            lambda: Store.create(store.path, store.settings, DIM),
            lambda: other.writing().__enter__(),
        ):
            with pytest.raises(IndexBusy):
                attempt()
        writer.put([row := make_row("/videos/a.mp4")], [embed(row)])
    assert Store.open(store.path).videos() == {row.path: row}


def test_an_index_that_was_deleted_meanwhile_is_not_written(store: Store) -> None:
    delete_index(store.path)
    with pytest.raises(IndexNotFound), store.writing():
        pass


def test_two_runs_that_make_the_same_index_at_once_both_write_to_it(store: Store) -> None:
    second = Store.create(store.path, store.settings, DIM)
    rows = [make_row(f"/videos/{name}.mp4") for name in ("a", "b")]
    for one, row in zip((store, second), rows, strict=True):
        with one.writing() as writer:
            writer.put([row], [embed(row)])
            writer.compact()
    for one in (store, second, Store.open(store.path)):
        assert one.videos() == {row.path: row for row in rows}
        assert contents_found(one) == {row.content for row in rows}


def test_an_open_index_gives_the_videos_of_contents_as_they_are_after_each_commit(store: Store) -> None:
    reader = Store.open(store.path)
    first, copy, second = make_row("/v/1.mp4"), make_row("/v/copy.mp4"), make_row("/v/2.mp4")
    copy = dataclasses.replace(copy, content=first.content, fingerprint=first.fingerprint)
    changes: list[list[VideoRow]] = [[first], [copy, second], [dataclasses.replace(first, content=second.content)]]
    rows: dict[Path, VideoRow] = {}
    reader.read_ahead()
    for changed in changes:
        put(store, changed, [])
        rows |= {row.path: row for row in changed}
        for wanted in ({first.content, 1}, {second.content}, {first.content, second.content}, set[int]()):
            found = {row.path: row for row in reader.videos_of(wanted)}
            assert found == {path: row for path, row in rows.items() if row.content in wanted}


def test_what_is_finished_is_found_while_more_is_written(store: Store) -> None:
    searching = Store.open(store.path)
    rows = [make_row(f"/videos/{name}.mp4") for name in "abc"]
    with store.writing() as writer:
        for number, row in enumerate(rows, start=1):
            writer.put([row], [embed(row)])
            for one in (searching, Store.open(store.path)):
                assert contents_found(one) == {row.content for row in rows[:number]}
        writer.compact()
        assert contents_found(searching) == {row.content for row in rows}


def test_deleting_an_index_leaves_everything_else(store: Store) -> None:
    foreign = store.path / "holiday.mp4"
    foreign.write_bytes(b"mine")
    delete_index(store.path)
    assert [entry.name for entry in store.path.iterdir()] == [foreign.name]
    with pytest.raises(IndexNotFound):
        delete_index(store.path)
