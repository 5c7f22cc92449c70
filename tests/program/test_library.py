"""What is indexed and what can be chosen: status, remove, relink and models."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from pathlib import Path

import pytest

from tests.support.program import objects
from tests.support.ran import Run
from tests.support.stored import put
from vidfind.doctor.data import look_at_pictures
from vidfind.pictures.cache import PictureCache
from vidfind.system.files import fingerprint


def test_status_tells_what_is_indexed_and_how(run: Run, indexed: Path, films: Path) -> None:
    ran = run("status")
    facts = {line[:10].strip(): line[10:].strip() for line in ran.out.splitlines()}
    assert ran.err == ""
    assert facts["Model"] == "tiny / builtin"
    assert facts["Encoder"].startswith("tempme, 12 frames of each 10 s segment")
    assert (facts["Videos"], facts["Segments"], facts["Folders"]) == ("4", "4", str(films))
    assert re.fullmatch(r"\d+\.\d seconds", facts["Footage"])
    assert facts["Disk use"].endswith(" kB")


def test_status_tells_of_videos_that_are_not_whole_or_could_not_be_read(run: Run, indexed: Path, films: Path) -> None:
    from vidfind.store.store import Store

    store = Store.open(indexed / "indexes" / "default")
    row = next(row for path, row in store.videos().items() if path.name == "clip-1.mp4")
    put(store, [dataclasses.replace(row, damage="ends early: 0:28 of 0:35 is there")])
    bad = [dataclasses.replace(row, path=films / f"bad-{i:02}.mp4", failed="is empty") for i in range(23)]
    put(store, bad)
    ran = run("status")
    assert "Videos    4, of which 1 could be read only in part; 23 more could not be read " in ran.out
    lines = ran.out.splitlines()
    assert lines[lines.index("23 videos could not be read:") :] == [
        "23 videos could not be read:",
        *[f"  {films / f'bad-{i:02}.mp4'} is empty" for i in range(20)],
        "  and 3 more; -v shows all",
        "1 video could be read only in part:",
        f"  {films / 'clip-1.mp4'} ends early: 0:28 of 0:35 is there",
    ]
    [found] = [line for line in run("search", "circle").out.splitlines() if line.endswith("\tincomplete")]
    assert found.split("\t")[2].endswith("clip-1.mp4")
    assert run("status", "-v").out.count(" is empty\n") == 23


def test_remove_forgets_videos_and_leaves_their_files(run: Run, indexed: Path, films: Path) -> None:
    ran = run("remove", films / "inner")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("Removed 1 video.")
    assert len(run("search", "circle", "--paths").out.splitlines()) == 3
    assert (films / "inner" / "clip-4.mp4").exists()
    ran = run("remove", films / "inner")
    assert ran.code == 1
    assert str(films / "inner") in ran.err


def test_relink_gives_videos_another_path_and_says_if_nothing_is_there(
    run: Run, indexed: Path, films: Path, tmp_path: Path
) -> None:
    ran = run("relink", films, films.with_name("filns0"))
    assert ran.code == 1
    assert f"There is no {films.with_name('filns0')}. Did you mean {films}? If it is on a drive" in ran.err
    ran = run("relink", films, "/nowhere/films", "--yes")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "Relinked 4 videos. Nothing has to be encoded again.",
        "/nowhere/films is not there now: its videos are offline until it is.",
    ]
    (tmp_path / "link").symlink_to(films)
    ran = run("relink", "/nowhere/films", tmp_path / "link")
    assert ran.err == "Relinked 4 videos. Nothing has to be encoded again.\n"
    assert run("index", tmp_path / "link").out == "4 unchanged.\n"
    run("index", films / "inner" / "clip-4.mp4", "--force")
    ran = run("relink", tmp_path / "link", films)
    assert ran.err.splitlines()[1:] == [
        "The index already had 1 of them with the new path. It keeps one of each, a readable one if any."
    ]
    ran = run("relink", "/nowhere", films)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "is /nowhere or lies under it" in ran.err


def test_a_whole_index_is_deleted_only_when_confirmed(run: Run, indexed: Path) -> None:
    ran = run("remove", "--all")
    assert ran.code == 1
    assert "add --yes" in ran.err
    assert run("status").code == 0
    assert run("remove", "--all", "--yes").code == 0
    assert run("status").code == 1


def test_status_remove_and_relink_print_json(run: Run, indexed: Path, films: Path) -> None:
    (status,) = objects(run("status", "--json").out)
    assert (status["name"], status["model"], status["encoder"]) == ("default", "tiny", "tempme")
    assert (status["videos"], status["failed"], status["unfinished"]) == (4, [], None)
    assert status["folders"] == [{"path": str(films), "online": True}]
    relinked = objects(run("relink", films / "inner", "/elsewhere", "--json", "--yes").out)
    assert [one["old"] for one in relinked] == [str(path) for path in sorted((films / "inner").iterdir())]
    assert all(one["path"].startswith("/elsewhere/") and one["was_known"] is False for one in relinked)
    ran = run("remove", "/elsewhere", "--json")
    assert (objects(ran.out), ran.err) == ([{"path": relinked[0]["path"]}], "")
    assert objects(run("remove", "--all", "--yes", "--json").out) == [{"index": "default"}]


def test_a_run_says_how_to_take_out_what_is_not_there(run: Run, indexed: Path, films: Path) -> None:
    run("relink", films / "inner", "/nowhere/inner", "--yes")
    (indexed / "indexes" / "default").rename(indexed / "indexes" / "other")
    kept = "Not there now, and kept in the index: 1 video of /nowhere/inner. If that is for good, take them out: "
    for dry in ([], ["--dry-run"]):
        assert kept + "vidfind remove /nowhere/inner --index other" in run("index", "--index", "other", *dry).err


def test_list_shows_each_video_with_date_length_and_state(run: Run, indexed: Path, films: Path) -> None:
    from vidfind.store.store import Store

    store = Store.open(indexed / "indexes" / "default")
    row = store.videos()[films / "clip-1.mp4"]
    put(store, [dataclasses.replace(row, damage="ends early")])
    put(store, [dataclasses.replace(row, path=films / "gone" / "bad.mp4", failed="is empty")])
    ran = run("list")
    assert (ran.code, ran.err.split(",")[0]) == (0, "5 videos")
    head, *lines = [line.split("\t") for line in ran.out.splitlines()]
    assert head == ["Date", "Length", "File", "State"]
    names = ["clip-1.mp4", "clip-2.mp4", "clip-3.mp4", "gone/bad.mp4", "inner/clip-4.mp4"]
    assert [Path(line[2]) for line in lines] == [films / name for name in names]
    assert [line[3] for line in lines] == ["incomplete", "", "", "offline unreadable", ""]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d 0:\d\d", " ".join(lines[0][:2]))
    assert run("list", "--in", films / "inner", "-0").out == f"{films / 'inner' / 'clip-4.mp4'}\0"
    assert run("list", "--exclude", "clip-*", "--paths").out == f"{films / 'gone' / 'bad.mp4'}\n"
    values = objects(run("list", "--online", "--json").out)
    assert [(Path(one["path"]).name, one["damage"], one["failed"]) for one in values][:2] == [
        ("clip-1.mp4", "ends early", ""),
        ("clip-2.mp4", "", ""),
    ]
    assert len(values) == 4
    assert run("list", "--until", "1999").err == "0 videos, 0.0 seconds.\n"
    assert run("list", "--json", "--paths").code == 2


def test_models_print_json(run: Run) -> None:
    models = {(one["model"], one["pretrained"]): one for one in objects(run("models", "--json").out)}
    assert models["tiny", "builtin"]["path"]
    assert models["ViT-B-32", "laion2b_s34b_b79k"]["size"] == 605_143_284


def test_quiet_leaves_results_and_errors(run: Run, indexed: Path, films: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "bad.mp4").write_bytes(b"no video")
    ran = run("index", bad, "-q", "--device", "cpu")
    assert ran.code == 3
    assert ran.out.strip() == "1 failed."
    assert ran.err.splitlines()[0] == "1 video could not be read:"
    assert len(ran.err.splitlines()) == 2
    again = run("index", bad, "--quiet", "--device", "cpu")
    assert (again.code, again.err) == (0, "")
    ran = run("remove", bad, "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = run("status", "--index", "none-there", "-q")
    assert ran.code == 1 and ran.err.startswith("Error: There is no index")


def test_models_lists_what_can_be_chosen(run: Run) -> None:
    ran = run("models")
    assert (ran.code, ran.err) == (0, "")
    header, *rows = ran.out.splitlines()
    assert header.split("\t") == ["Model", "Weights", "Size", "Vector", "Licence", "Here", "Note"]
    assert rows[0].startswith("ViT-B-32\t")
    assert any(row.split()[0] == "tiny" and "yes" in row.split() for row in rows)


def put_many(indexed: Path, folder: Path) -> int:
    """Gives the index more videos, in a folder, than are removed without a question; returns their number."""
    from vidfind.index.options import FEW_REMOVALS
    from vidfind.store.store import Store

    store = Store.open(indexed / "indexes" / "default")
    row = next(iter(store.videos().values()))
    rows = [dataclasses.replace(row, path=folder / f"{i}.mp4", content=i + 1) for i in range(FEW_REMOVALS + 1)]
    put(store, rows)
    return len(rows)


def test_many_videos_are_removed_only_when_confirmed(run: Run, indexed: Path, films: Path) -> None:
    many = put_many(indexed, films / "many")
    ran = run("remove", films / "many", "--dry-run", "--json")
    assert (ran.code, len(objects(ran.out))) == (0, many)
    ran = run("remove", films / "many")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"Error: Removing {many} videos must be confirmed: add --yes. Nothing was removed.\n"
    ran = run("remove", films / "many", "--yes")
    assert ran.err.splitlines() == [
        f"Removed {many} videos. The files are where they were. Their vectors are kept for 30 days.",
        f"Later runs leave out what you removed until you name it: vidfind index {films / 'many'}",
    ]
    ran = run("remove", films / "inner", "--dry-run")
    assert (ran.out.strip(), ran.err) == (str(films / "inner" / "clip-4.mp4"), "Would remove 1 video.\n")
    assert objects(run("status", "--json").out)[0]["videos"] == 4


@pytest.mark.parametrize("removed_before", [False, True])
def test_vectors_are_deleted_for_good_only_when_confirmed(
    run: Run, indexed: Path, films: Path, monkeypatch: pytest.MonkeyPatch, removed_before: bool
) -> None:
    if removed_before:
        run("remove", films / "inner")
    what = ["remove", *([] if removed_before else [films / "inner"]), "--purge"]
    assert run(*what, "--dry-run").err == "Would remove 1 video.\n"
    ran = run(*what)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "Error: Removing 1 video for good must be confirmed: add --yes. Nothing was removed.\n"
    monkeypatch.setattr(sys, "stdin", Terminal("n\ny\n"))
    ran = run(*what)
    assert ran.code == 1
    assert "Delete the vectors of 1 video for good? That cannot be undone." in " ".join(ran.err.split())
    assert len(objects(run("status", "--json").out)[0]["removed"]) == removed_before
    ran = run(*what)
    assert ran.code == 0
    assert "Removed 1 video. The files are where they were. No vectors or tags are kept." in ran.err
    assert run(*what).code == (0 if removed_before else 1)  # of nothing, nothing is asked


def test_pictures_go_with_what_is_deleted_for_good(run: Run, indexed: Path, films: Path) -> None:
    cache = PictureCache()
    for film in films.rglob("*.mp4"):
        cache.picture(film, fingerprint(film), 0.5)
    count = cache.count()[0]
    assert look_at_pictures().facts.startswith(f"in {cache.folder}, {count} pictures, ")
    run("remove", films / "inner", "--yes")
    assert cache.count()[0] == count
    run("remove", "--purge", "--yes")
    assert cache.count()[0] == count - 1
    run("remove", "--all", "--yes")
    assert cache.count()[0] == 0


def test_a_run_says_what_it_has_not_removed_and_asks_where_somebody_is_there(
    run: Run, indexed: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = put_many(indexed, films / "many")
    ran = run("index", films, "--dry-run")
    assert f"Removing {many} videos must be confirmed" in ran.err
    ran = run("index", films, "--json")
    assert (ran.code, objects(ran.out)[-1]["summary"]["not_removed"]) == (3, many)
    ran = run("index", films, "-q")
    assert (ran.code, ran.out) == (3, "4 unchanged.\n")
    assert ran.err.startswith(f"{many} videos would be removed")
    monkeypatch.setattr(sys, "stdin", Terminal("n\ny\n"))
    ran = run("index", films)
    assert (ran.code, ran.err.startswith(f"Remove {many} videos from the index?")) == (3, True)
    ran = run("index", films)
    assert (ran.code, ran.out.lstrip()) == (0, f"4 unchanged, {many} removed.\n")  # a prompt leaves a space


class Terminal(io.StringIO):
    """What a user types at a terminal."""

    def isatty(self) -> bool:
        return True


def test_status_tells_what_is_left_out_and_what_can_come_back(run: Run, indexed: Path, films: Path) -> None:
    run("remove", films / "inner")
    ran = run("index", films, "--exclude", "clip-1*")
    assert ran.out == "2 unchanged, 1 removed.\n"
    status = run("status").out
    assert f"Excluded  'clip-1*' in {films} (--include takes it again)" in status
    assert f"Left out  {films / 'inner'} (indexing it takes it again)" in status
    assert "Removed   1 video, whose vectors are kept for 30 days" not in status  # two were removed
    (values,) = objects(run("status", "--json").out)
    assert values["left_out"] == {
        "paths": [str(films / "inner")],
        "patterns": [{"folder": str(films), "pattern": "clip-1*"}],
        "ignore_files": [],
    }
    assert [Path(one["path"]).name for one in values["removed"]] == ["clip-4.mp4", "clip-1.mp4"]
    ran = run("index", films, "--include", "clip-1*")
    assert ran.out == "1 new (1 with the vectors from before their removal), 2 unchanged.\n"
    assert "No earlier run has left out 'x'" in run("index", films, "--include", "x").err
    ran = run("remove", "--purge", "--json", "--yes")
    assert [Path(one["path"]).name for one in objects(ran.out)] == ["clip-4.mp4"]
    assert run("index", films / "inner").out.startswith("1 new: ")
