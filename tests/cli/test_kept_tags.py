"""Tags in what other commands say and do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.ran import Run
from tests.support.tagged import Library, make_library
from vidfind.store.labelled.marks import Mark
from vidfind.store.mending.health import check_index


@pytest.fixture
def library(tmp_path: Path, run: Run) -> Library:
    """Of a.mp4 and b.mp4, a has dog, b not, and a model gave cat to b."""
    library = make_library(tmp_path, run, "a.mp4", "b.mp4")
    run("tag", "add", library.folder / "a.mp4", "dog")
    run("tag", "add", library.folder / "b.mp4", "DOG", "--not")
    with library.store.writing() as writer:
        mark = Mark(library.rows["b.mp4"].content, 0.0, 10.0, tags={"cat": 0.9})
        writer.replace_marks("tag", "run", ["cat"], [mark])
    return library


def test_status_counts_tags(library: Library, run: Run) -> None:
    assert json.loads(run("status", "--json").out)["tags"] == {"names": 1, "videos": 2, "automatic": 1}
    shown = [" ".join(line.split()) for line in run("status").out.splitlines()]
    assert "Tags 1 of 2 videos, and automatic ones of 1" in shown


def test_the_tags_of_a_deleted_index_are_kept_in_a_list(library: Library, run: Run, tmp_path: Path) -> None:
    run("learn", "add", "pets", "Rex", library.folder / "a.mp4", "--describe", "a brown dog")
    before, classes = library.said(), run("learn", "export").out
    assert "pets,Rex," in classes
    ran = run("remove", "--all", "--yes")
    file = tmp_path / "home" / "tags-default.csv"
    assert f"Its tags are kept in {file}. To take them back: vidfind tag import {file}" in ran.err
    library.folder.rename(tmp_path / "away")
    again = make_library(tmp_path, run, "a.mp4", "b.mp4")
    assert again.said() == []
    assert run("tag", "import", file).code == 0
    assert again.said() == before
    assert run("learn", "import", file.with_name("classes-default.csv")).code == 0
    assert run("learn", "export", "-").out == classes
    assert "tags-default-1.csv" in run("remove", "--all", "--yes").err


def test_the_tags_of_removed_videos_are_kept_with_those_of_a_deleted_index(
    library: Library, run: Run, tmp_path: Path
) -> None:
    run("learn", "add", "pets", "rex", library.folder / "a.mp4")
    before = library.said()
    run("remove", library.folder / "a.mp4")
    assert library.said() == ["b.mp4 -dog"]
    run("remove", "--all", "--yes")
    library.folder.rename(tmp_path / "away")
    again = make_library(tmp_path, run, "a.mp4", "b.mp4")
    assert run("tag", "import", tmp_path / "home" / "tags-default.csv").code == 0
    assert [line.casefold() for line in again.said()] == [line.casefold() for line in before]
    assert run("learn", "import", tmp_path / "home" / "classes-default.csv").code == 0


def test_doctor_keeps_the_tags_that_can_be_read(library: Library, run: Run) -> None:
    before = library.said()
    library.run("tag", "add", library.folder / "a.mp4", "later")
    tables = [library.store.path / f"{name}.lance" for name in ("labels", "marks")]
    for table in tables:
        newest = min(table.glob("_versions/*.manifest"))
        newest.write_bytes(newest.read_bytes()[:20])
    assert len(check_index(library.store.path)) == 2
    ran = run("doctor", "--fix", "--index", "default")
    assert "Kept 2 rows of the table labels" in ran.out + ran.err
    assert check_index(library.store.path) == []
    assert library.said() == before
    for file in tables[0].glob("data/*"):
        file.write_bytes(b"")
    assert run("tag", "export").code == 1
    ran = run("doctor", "--fix", "--index", "default")
    assert "of the table labels" in ran.out + ran.err, ran.out
    assert library.said() == []
