"""Indexes damaged in every way: what is found, what is kept, and that no damage leads to another error."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.rows import contents_found, embed, make_row, unit_vectors
from tests.support.stored import begin_again, compact, on_disk, put, remove
from vidfind.errors import IndexBusy, IndexDamaged, IndexNotFound
from vidfind.store.mending.health import check_index, mend_index
from vidfind.store.settings import COPY_FILE, FORMAT_VERSION, NEXT_FILE, SETTINGS_FILE, adapter_file_name
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow

pytestmark = pytest.mark.on_disk  # files of object storage cannot be half written; places/test_tables.py has doctor
Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "deleted": Path.unlink,
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file: os.truncate(file, 0),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
}


@pytest.fixture(autouse=True)
def a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))


@pytest.fixture
def filled(store: Store) -> Store:
    """Four commits of three videos, and one video removed again."""
    for commit in range(4):
        rows = [make_row(f"/videos/{commit}-{i}.mp4") for i in range(3)]
        put(store, rows, [embed(row, commit) for row in rows])
    remove(store, [Path("/videos/0-0.mp4")])
    with store.writing() as writer:
        writer.compact()  # of the vectors of what was removed; joins the files
    for commit in range(4, 8):
        rows = [make_row(f"/videos/{commit}-{i}.mp4") for i in range(3)]
        put(store, rows, [embed(row, commit) for row in rows])
    return store


def texts(path: Path) -> list[str]:
    return [problem.text for problem in check_index(path)]


def newest_first(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda file: -file.stat().st_mtime_ns)


def assert_consistent(path: Path) -> dict[Path, VideoRow]:
    """Nothing is wrong, and every video has its vectors."""
    assert check_index(path) == []
    store = Store.open(path)
    rows = store.videos()
    stored = [content for contents, _, _ in store.segments() for content in contents.tolist()]
    assert sorted(stored) == sorted(row.content for row in rows.values() for _ in range(row.segments))
    return rows


def test_a_healthy_index_has_no_problems(filled: Store) -> None:
    assert check_index(on_disk(filled)) == []
    assert mend_index(on_disk(filled)) == []
    assert len(assert_consistent(on_disk(filled))) == 23


def test_an_index_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    for function in (check_index, mend_index):
        with pytest.raises(IndexNotFound):
            function(tmp_path / "nothing")


@pytest.mark.parametrize("damage", ["cut", "emptied", "zeroed"])
def test_an_earlier_version_that_cannot_be_read_does_not_keep_an_index_from_being_tidied_up(
    filled: Store, damage: str
) -> None:
    DAMAGES[damage](newest_first(on_disk(filled) / "segments.lance", "_versions/*.manifest")[1])
    with pytest.raises(IndexDamaged):
        compact(filled)
    assert texts(on_disk(filled)) == [
        "earlier versions of the table segments cannot be read, which keeps it from being tidied up"
    ]
    mend_index(on_disk(filled))
    assert len(assert_consistent(on_disk(filled))) == 23
    compact(Store.open(on_disk(filled)))


def test_an_index_that_is_being_written_is_not_mended(filled: Store) -> None:
    with filled.writing(), pytest.raises(IndexBusy):
        mend_index(on_disk(filled))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("table", ["videos", "segments"])
def test_a_damaged_file_of_one_commit_costs_that_commit_alone(filled: Store, table: str, damage: Damage) -> None:
    before = filled.videos()
    damage(newest_first(on_disk(filled) / f"{table}.lance", "data/*.lance")[1])
    with pytest.raises(IndexDamaged, match="vidfind doctor --fix"):
        store = Store.open(on_disk(filled))
        store.videos()
        store.search(unit_vectors(1)[0], 10)
    [problem] = check_index(on_disk(filled))
    assert f"the table {table} cannot be read in full" in problem.text
    done = mend_index(on_disk(filled))
    assert any("vidfind index /videos" in line for line in done)
    after = assert_consistent(on_disk(filled))
    assert before.items() > after.items()
    assert len(before) - len(after) == 3


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("table", ["videos", "segments"])
def test_a_damaged_list_of_files_costs_the_last_commit_alone(filled: Store, table: str, damage: Damage) -> None:
    before = filled.videos()
    damage(newest_first(on_disk(filled) / f"{table}.lance", "_versions/*.manifest")[0])
    assert check_index(on_disk(filled)) != []
    mend_index(on_disk(filled))
    after = assert_consistent(on_disk(filled))
    assert before.items() > after.items()
    assert len(before) - len(after) == 3


def test_a_damaged_list_of_deleted_rows_costs_nothing(store: Store) -> None:
    rows = [make_row(f"/videos/{i}.mp4") for i in range(3)]
    put(store, rows, [embed(row) for row in rows])
    remove(store, [rows[0].path])
    [deletions] = (on_disk(store) / "videos.lance" / "_deletions").iterdir()
    os.truncate(deletions, 10)
    mend_index(on_disk(store))
    assert assert_consistent(on_disk(store)).keys() == {row.path for row in rows}  # the next run removes it again


@pytest.mark.parametrize("table", ["videos", "segments"])
def test_a_table_that_is_gone_is_made_anew_and_the_index_filled_again(filled: Store, table: str) -> None:
    shutil.rmtree(on_disk(filled) / f"{table}.lance")
    assert any(f"the table {table}" in text for text in texts(on_disk(filled)))
    done = mend_index(on_disk(filled))
    assert "vidfind index FOLDER" in done[0]
    assert assert_consistent(on_disk(filled)) == {}


def test_an_index_emptied_by_damage_is_made_again_with_the_same_settings(filled: Store) -> None:
    shutil.rmtree(on_disk(filled) / "segments.lance")
    assert "--model tiny --pretrained builtin --encoder tempme" in mend_index(on_disk(filled))[0]
    assert Store.create(on_disk(filled), filled.settings, 32).dim == 32  # as the next run does with one that is empty


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "settings.json"), ("[1]", "settings.json"), ('{"format": 2}', "model is None"), ("\0" * 99, "settings.json")],
)
def test_settings_that_cannot_be_read_are_named_with_the_way_to_begin_again(
    filled: Store, text: str, found: str
) -> None:
    (on_disk(filled) / SETTINGS_FILE).write_text(text)
    (on_disk(filled) / COPY_FILE).unlink()
    with pytest.raises(IndexDamaged, match=r"vidfind doctor --fix$"):
        Store.open(on_disk(filled))
    [problem] = check_index(on_disk(filled))
    assert found in problem.text
    assert "vidfind remove --all && vidfind index FOLDER" in problem.remedy
    assert mend_index(on_disk(filled)) == []


def test_settings_that_cannot_be_read_are_restored_from_their_copy(filled: Store) -> None:
    before = filled.videos()
    (on_disk(filled) / SETTINGS_FILE).write_text("{garbage")
    [problem] = check_index(on_disk(filled))
    assert (SETTINGS_FILE in problem.text, problem.remedy) == (True, "its copy takes its place")
    assert mend_index(on_disk(filled)) == ["Put the copy of settings.json in its place."]
    assert check_index(on_disk(filled)) == []
    mended = Store.open(on_disk(filled))
    assert (mended.settings, mended.videos()) == (filled.settings, before)


def test_settings_of_a_newer_vidfind_are_left_alone(filled: Store) -> None:
    file = on_disk(filled) / SETTINGS_FILE
    file.write_text(file.read_text().replace(f'"format": {FORMAT_VERSION}', '"format": 99'))
    [problem] = check_index(on_disk(filled))
    assert "newer vidfind" in problem.text
    assert "remove" not in problem.text + problem.remedy
    assert mend_index(on_disk(filled)) == []


def test_videos_without_all_their_vectors_are_forgotten_so_that_they_are_encoded_again(store: Store) -> None:
    whole, lacking, copy = make_row("/videos/a.mp4"), make_row("/videos/b.mp4", 3), make_row("/other/c.mp4", 3)
    copy = replace(copy, content=lacking.content, folder=Path("/other"))
    put(store, [whole], [embed(whole)])
    put(store, [lacking, copy], [embed(replace(lacking, segments=2))])
    [problem, *_] = check_index(on_disk(store))
    assert "/other/c.mp4, /videos/b.mp4" in problem.text or "/videos/b.mp4, /other/c.mp4" in problem.text
    assert "vidfind index /other /videos" in problem.remedy
    mend_index(on_disk(store))
    assert assert_consistent(on_disk(store)) == {whole.path: whole}


def test_vectors_that_are_not_of_unit_length_are_found(store: Store) -> None:
    good, zero, long = (make_row(f"/videos/{name}.mp4", 1) for name in ("good", "zero", "long"))
    vectors = unit_vectors(3)
    vectors[1] = 0  # not NaN: LanceDB takes none
    vectors[2] *= 2
    rows = [good, zero, long]
    put(store, rows, [Embedded(row.content, [(0.0, 1.0)], vectors[i : i + 1]) for i, row in enumerate(rows)])
    assert "broken vectors: " in texts(on_disk(store))[0]
    mend_index(on_disk(store))
    assert assert_consistent(on_disk(store)) == {good.path: good}


def test_vectors_of_no_video_are_cleared(filled: Store) -> None:
    put(filled, [], [embed(make_row("/videos/killed.mp4"))])
    assert "belong to no video: 2" in texts(on_disk(filled))[0]
    mend_index(on_disk(filled))
    assert_consistent(on_disk(filled))


def test_old_files_that_nothing_uses_are_litter_and_new_ones_are_not(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    old = [
        on_disk(filled) / ".settings.json.part",
        on_disk(filled) / ".adapter-1f.safetensors.part",
        on_disk(filled) / "videos-7.lance",
    ]
    old.append(tmp_path / "adapters" / ".home.safetensors.part")
    for file in old:
        file.write_bytes(b"unfinished")
    assert check_index(on_disk(filled)) == []
    hours_ago = time.time() - 7200
    for file in [*old, on_disk(filled) / SETTINGS_FILE]:
        os.utime(file, (hours_ago, hours_ago))
    (foreign := on_disk(filled) / "holiday.mp4").write_bytes(b"mine")
    assert "files that are of no use any more: " in texts(on_disk(filled))[0]
    mend_index(on_disk(filled))
    assert not any(file.exists() for file in old)
    assert foreign.exists()
    assert_consistent(on_disk(filled))


def test_an_adapter_copy_that_is_lost_is_copied_again_from_the_saved_one(filled: Store, tmp_path: Path) -> None:
    saved = tmp_path / "adapters" / "home.safetensors"
    saved.parent.mkdir()
    saved.write_bytes(b"trained")
    with filled.writing() as writer:
        switched = writer.switch_adapter(filled.settings, saved)
    kept = on_disk(switched.path / adapter_file_name(saved))
    for damage in (Path.unlink, lambda file: file.write_bytes(b"other")):
        damage(kept)
        assert str(saved) in check_index(on_disk(filled))[0].remedy
        mend_index(on_disk(filled))
        assert check_index(on_disk(filled)) == []
    saved.unlink()
    kept.unlink()
    with pytest.raises(IndexDamaged, match=r"copy of the adapter .* is missing.* vidfind doctor --fix"):
        _ = switched.adapter
    [problem] = check_index(on_disk(filled))
    assert "vidfind index --adapter none" in problem.remedy
    assert mend_index(on_disk(filled)) == []


def test_an_unfinished_encoding_is_checked_and_mended_too(filled: Store) -> None:
    begun = begin_again(filled)
    row = make_row("/videos/0-1.mp4")
    put(begun, [row])
    [problem] = check_index(on_disk(filled))
    assert "videos without vectors" in problem.text
    assert "vidfind index --adapter none" in problem.remedy
    mend_index(on_disk(filled))
    assert_consistent(on_disk(filled))
    unfinished = Store.open(on_disk(filled)).unfinished()
    assert unfinished and unfinished.videos() == {}


def test_an_unfinished_encoding_whose_settings_are_lost_is_given_up(filled: Store) -> None:
    begin_again(filled)
    (on_disk(filled) / NEXT_FILE).write_text("")
    assert "cannot be finished" in texts(on_disk(filled))[0]
    mend_index(on_disk(filled))
    assert len(assert_consistent(on_disk(filled))) == 23
    assert Store.open(on_disk(filled)).unfinished() is None


@pytest.mark.parametrize("trials", [16, pytest.param(100, marks=pytest.mark.soak)], ids=["few", "many"])
def test_no_change_of_any_byte_leads_to_another_error(filled: Store, tmp_path: Path, trials: int) -> None:
    rnd = random.Random(4)
    before = filled.videos()
    files = [
        file.relative_to(on_disk(filled))
        for file in sorted(on_disk(filled).rglob("*.*"))
        if file.is_file() and file.stat().st_size
    ]
    for trial in range(trials):
        path = tmp_path / "indexes" / f"trial-{trial}"
        shutil.copytree(on_disk(filled), path)
        file = path / rnd.choice(files)
        text = bytearray(file.read_bytes())
        place = rnd.randrange(len(text))
        if trial % 2:
            text[place] ^= 1 << rnd.randrange(8)
        else:
            del text[place : place + rnd.randrange(1, 40)]
        file.write_bytes(text)
        mend_index(path)
        if file.name == SETTINGS_FILE:
            continue
        assert check_index(path) == []
        assert Store.open(path).videos().keys() <= before.keys() | {Path("/videos/0-0.mp4")}
        assert contents_found(Store.open(path)) <= {row.content for row in Store.open(path).videos().values()}


def test_a_user_is_led_from_the_damage_to_an_index_that_is_whole_again(run: Run, clips: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("vp9.webm", "gif.gif"):
        shutil.copy(clips / name, films)
        assert run("index", films, "--model", "tiny").code == 0
    found = run("search", "a red circle", "--paths").out
    [cut, *_] = newest_first(tmp_path / "home" / "indexes" / "default" / "segments.lance", "data/*.lance")
    os.truncate(cut, 100)
    for command in (["search", "a red circle"], ["index", films]):
        ran = run(*command)
        assert ran.code == 1
        assert "Error: The index 'default' is damaged" in ran.err
        assert "vidfind doctor --fix" in ran.err
    assert "table segments cannot be read" in run("doctor").out
    assert f"vidfind index {films}" in run("doctor", "--fix").out.replace("\n", " ")
    assert run("index", films).code == 0
    assert run("search", "a red circle", "--paths").out == found
