"""Searches and lists by tags alone, without words, on videos whose vectors are made up."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.rows import embed
from tests.support.stored import put
from tests.support.tagged import Library, make_library
from vidfind.store.labelled.marks import Mark


@pytest.fixture
def library(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Of six videos, the first three have the tag dog, the third only in its second half, and the fourth by itself."""
    library = make_library(tmp_path, run)
    library.rows |= {f"{number}.mp4": library.row(f"{number}.mp4") for number in range(6)}
    parts = [embed(row, seed=number) for number, row in enumerate(library.rows.values())]
    put(library.store, [*library.rows.values()], parts)
    monkeypatch.chdir(library.folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    run("tag", "add", "0.mp4", "1.mp4", "dog")
    run("tag", "add", "2.mp4", "dog", "--from", "10")
    run("tag", "add", "1.mp4", "5.mp4", "--", "at work")
    with library.store.writing() as writer:
        writer.replace_marks("tag", "run", ["dog"], [Mark(library.rows["3.mp4"].content, 0.0, 10.0, tags={"dog": 0.9})])
    return library


def names(text: str) -> list[str]:
    return sorted(Path(line).stem for line in text.splitlines())


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--tag", "DOG"], "0123"),
        (["--tag", "dog", "--tags-from", "user"], "012"),
        (["--tag", "dog", "--no-tag", "at work"], "023"),
        (["--any-tag", "dog,at work"], "01235"),
        (["--tag", "dog", "--tag", "at work"], "1"),
        (["--tag", "dog", "--in", "0.mp4"], "0"),
    ],
)
def test_moments_are_found_by_their_tags_without_words(
    library: Library, run: Run, options: list[str], found: str
) -> None:
    for command in ("search", "list"):
        ran = run(command, *options, "--paths")
        assert (ran.code, names(ran.out)) == (0, [*found]), ran.err


def test_moments_with_a_tag_are_in_the_order_of_how_typical_they_are(library: Library, run: Run) -> None:
    ran = run("search", "--tag", "dog", "--per-video", "9", "--json")
    moments = [json.loads(line) for line in ran.out.splitlines()]
    scores = [one["score"] for one in moments]
    assert scores == sorted(scores, reverse=True) and len({one["path"] for one in moments}) == 4
    assert {one["match"] for one in moments} == {None}
    [half] = [one for one in moments if one["path"].endswith("2.mp4")]
    assert (half["start"], half["end"]) == (10.0, 20.0)
    assert run("search", "--tag", "dog", "--json", "-n", "2").out.splitlines() == ran.out.splitlines()[:2]


def test_tags_alone_are_a_query_in_a_pipe_too(library: Library, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('--tag "at work"\n--tag dog --no-tag dog\n--tag cat\n'))
    ran = run("search", "--paths")
    assert (ran.code, names(ran.out)) == (1, ["1", "5"])
    assert "No video has the tag 'cat'" in ran.err
    assert "Nothing passes --no-tag. Without it, the best is" in run("search", "--tag", "dog", "--no-tag", "dog").err


def test_words_must_say_what_a_match_is_of(library: Library, run: Run) -> None:
    ran = run("search", "--tag", "dog", "--min-match", "50")
    assert (ran.code, "--min-match judges words" in ran.err) == (1, True)
    assert "No query came in" in run("search", "--no-tag", "dog").err


def test_videos_without_a_tag_are_listed(library: Library, run: Run) -> None:
    failed = library.row("broken.mp4", failed="is cut short", content=0, segments=0)
    put(library.store, [failed])
    assert names(run("list", "--no-tag", "dog", "--paths").out) == ["4", "5", "broken"]
    assert names(run("list", "--no-tag", "dog", "--no-tag", "at work", "--paths").out) == ["4", "broken"]
    ran = run("list", "--tag", "dgo")
    assert (ran.code, "Did you mean 'dog'?" in ran.err) == (1, True)


def test_moments_with_a_tag_are_exported(library: Library, run: Run) -> None:
    assert run("export", "--tag", "dog", "--timeline", "dogs.m3u").code == 3  # there are no such files
    assert "needs a query" in run("export", "--no-tag", "dog", "--timeline", "dogs.m3u").err


def test_a_pipe_gets_whole_paths(library: Library, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(library.folder))
    whole = {str(row.path) for row in library.rows.values()}
    for words, column in ((["search", "--tag", "dog"], 2), (["list"], 2), (["tag", "list", "0.mp4"], 0)):
        lines = run(*words).out.splitlines()
        files = [line.split("\t")[column] for line in (lines[1:] if column else lines[:1])]
        assert files and whole >= {*files}
    assert run("remove", "0.mp4", "--dry-run").out.rstrip() in whole


def test_copies_are_results_of_their_own_where_look_alikes_are_folded(library: Library, run: Run) -> None:
    first = library.rows["0.mp4"]
    copy = library.row("copies/0.mp4", fingerprint=first.fingerprint, content=first.content)
    twin = library.row("twin.mp4")
    put(library.store, [copy, twin], [embed(twin, seed=0)])
    run("tag", "add", "twin.mp4", "dog")
    for options, found in (([], ["0"]), (["--copies"], ["0", "0"])):
        ran = run("search", "--tag", "dog", "--collapse", "--json", *options)
        own = [json.loads(line) for line in ran.out.splitlines()]
        own = [one for one in own if Path(one["path"]).name in ("0.mp4", "twin.mp4")]
        assert [Path(one["path"]).stem for one in own] == found
        assert [Path(like["path"]).stem for one in own for like in one["alike"]] == ["twin"]
        assert sum(len(one["copies"]) for one in own) == 2 - len(found)
