"""Which folders and files `vidfind index` is given: none, a list, patterns."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.ran import Run


@pytest.fixture
def films(made: Path, tmp_path: Path) -> Path:
    """Two folders of one small video each, and a picture."""
    for name, source in (("one/a.mp4", "a.mp4"), ("two/b.mp4", "b.mp4")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes((made / source).read_bytes())
    (tmp_path / "one" / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(99))
    return tmp_path


def test_without_a_path_all_that_is_known_is_brought_up_to_date(run: Run, films: Path) -> None:
    before = run("index")
    assert before.code == 2
    assert "Which folders? The index knows none yet. Type vidfind index FOLDER" in before.err
    named = run("index", films / "one" / "a.mp4", films / "one" / "a.jpg", films / "two", "--model", "tiny")
    assert (named.code, named.out.split(":")[0]) == (0, "2 new")
    assert "Left out, since the contents are no video: a.jpg." in named.err
    (films / "two" / "c.mp4").write_bytes((films / "one" / "a.mp4").read_bytes())
    again = run("index")
    assert (again.code, again.out) == (0, "1 new (1 as a copy), 2 unchanged.\n")
    assert again.err == f"Bringing up to date: {films / 'one' / 'a.mp4'}, {films / 'two'}\n"


@pytest.mark.parametrize(
    ("content", "arguments"),
    [(b"one/a.mp4\r\n\nnone.mp4\ntwo\n", []), (b"one/a.mp4\0none.mp4\0two\0", ["-0"])],
    ids=["lines", "nul"],
)
@pytest.mark.parametrize("source", ["-", "list.txt"])
def test_files_of_a_list_are_previewed_as_if_they_were_named(
    run: Run, films: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, arguments: list[str], source: str
) -> None:
    monkeypatch.chdir(films)
    Path("list.txt").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))
    ran = run("index", "--files-from", source, *arguments, "--dry-run", "--json")
    *videos, _ = map(json.loads, ran.out.splitlines())
    assert [video["path"] for video in videos] == [str(films / "one" / "a.mp4"), str(films / "two" / "b.mp4")]
    assert (ran.code, ran.err) == (3, "Listed, but not there: none.mp4\n")


@pytest.mark.parametrize(
    ("content", "arguments", "code", "told"),
    [
        (b"a.mp4\0b.mp4\0", [], 1, "list.txt has NUL bytes between its paths: add -0."),
        (b"a.mp4\nb.mp4\n", ["-0"], 1, "list.txt has one path a line, and no NUL bytes: leave out -0."),
        (b"\n", [], 0, "There is nothing to index in the list."),
        (b"none.mp4\n", [], 1, "Listed, but not there: none.mp4"),
    ],
)
def test_a_list_that_is_of_no_use_is_told(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_bytes(content)
    ran = run("index", "--files-from", "list.txt", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-"], "vidfind index --files-from -"),
        (["-0", "."], "-0 goes with --files-from."),
        (["--files-from", "none.txt"], "none.txt cannot be read"),
        (["--watch", "--files-from", "-"], "Give either --watch or --files-from."),
    ],
    ids=["dash", "nul", "missing", "watch"],
)
def test_a_list_given_the_wrong_way_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("index", *arguments)
    assert ran.code in (1, 2)
    assert told in " ".join(ran.err.split())


def test_only_a_failure_that_is_new_or_of_a_named_file_gives_exit_code_3(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "films" / "bad.mp4"
    bad.parent.mkdir()
    bad.write_bytes(b"no video")
    (tmp_path / "list.txt").write_text(f"{bad}\n")
    assert run("index", bad.parent, "--model", "tiny").code == 3
    for known in ([bad.parent], [], ["--files-from", tmp_path / "list.txt"]):
        ran = run("index", *known)
        assert (ran.code, ran.out) == (0, "1 failed.\n")
    ran = run("index", bad)
    assert ran.code == 3
    assert f"{bad} " in ran.err
    assert "(not tried again: it has not changed since)" in ran.err
    assert ran.err.endswith("To try it again: vidfind index FILE --force\n")
    assert json.loads(run("index", bad, "--json").out.splitlines()[0])["failed_before"] is True
    with (tmp_path / "list.txt").open("a") as file:
        file.write("none.mp4\n")
    assert run("index", "--files-from", tmp_path / "list.txt").code == 3
    assert run("index", tmp_path / "none.mp4").code == 1


def test_what_an_ignore_file_leaves_out_is_told_by_runs_and_by_status(run: Run, films: Path) -> None:
    (films / "one" / ".vidfindignore").write_text("drafts/\nb*\n")
    (films / "one" / "drafts").mkdir()
    (films / "one" / "a.jpg").unlink()
    for name in ("drafts/c.mp4", "b.mp4", "b.txt"):
        (films / "one" / name).write_bytes(b"")
    ran = run("index", films / "one", "--model", "tiny")
    assert "Left out by .vidfindignore: 2, such as b.mp4.\n" in ran.err
    summary = json.loads(run("index", films / "one", "--json").out.splitlines()[-1])["summary"]
    assert summary["left_out"] == {"ignored": 2}
    file = films / "one" / ".vidfindignore"
    assert f"Ignored   what these name: {file}\n" in run("status").out
    assert json.loads(run("status", "--json").out)["left_out"]["ignore_files"] == [str(file)]
    ran = run("index", films / "one", "--exclude", "trip")
    assert "--exclude trip matches nothing here. Later runs keep to it until you give --include trip." in ran.err


def test_what_is_left_out_is_told_once_also_where_nothing_is_found(run: Run, tmp_path: Path) -> None:
    for name in ("#recycle/a.mp4", "@eaDir/b.mp4", "sub/@eaDir/c.mp4"):
        (tmp_path / "nas" / name).parent.mkdir(parents=True)
        (tmp_path / "nas" / name).write_bytes(b"\0")
    os.symlink("loop", tmp_path / "nas" / "loop")
    ran = run("index", tmp_path / "nas", "--exclude", "subb")
    assert (ran.code, ran.out) == (0, "No videos found.\n")
    told = " ".join(ran.err.split())
    assert "loop is a link that leads back to itself. Its videos stay in the index." in told
    assert "bins (1, such as #recycle); folders of the system, of a NAS or of snapshots (2, such as @eaDir)" in told
    assert "--exclude subb matches nothing here. Did you mean sub?" in told
    (line,) = map(json.loads, run("index", tmp_path / "nas", "--json").out.splitlines())
    assert line["summary"]["left_out"] == {"bin": 1, "system": 2}
    assert [one["path"] for one in line["summary"]["unreadable"]] == [str(tmp_path / "nas" / "loop")]
