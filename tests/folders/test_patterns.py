"""`--exclude` and `.vidfindignore`: what they match, and what is told of what they do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidfind.errors import BadInput
from vidfind.folders.patterns import Unused, without_current_folder
from vidfind.folders.walk import find_videos, survey_folders

NAMES = ("[2019] Trip/a.mp4", "drafts/b.mp4", "drafts/deep/c.mp4", "Cafe\u0301/d.mp4", "e.mp4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Videos in the folder `films`; the current folder is the one above, and the home folder too."""
    for name in NAMES:
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "films"


def left(folder: Path, *exclude: str) -> set[str]:
    """The names of the files that are left out."""
    found = {video.path.name for video in find_videos([folder], exclude)}
    return {Path(name).name for name in NAMES} - found


@pytest.mark.parametrize(
    ("pattern", "out"),
    [
        ("[2019] Trip", "a.mp4"),
        ("[2019] Trip/", "a.mp4"),
        ("[2019] Trip/*", "a.mp4"),
        ("films/[2019] Trip", "a.mp4"),
        ("./films/drafts", "b.mp4 c.mp4"),
        ("./films/drafts/", "b.mp4 c.mp4"),
        ("films/drafts", "b.mp4 c.mp4"),
        ("films/../films/drafts/deep", "c.mp4"),
        ("~/films/drafts", "b.mp4 c.mp4"),
        ("~/films/drafts/*.mp4", "b.mp4 c.mp4"),
        ("drafts\\deep", "c.mp4"),
        (".\\films\\drafts\\", "b.mp4 c.mp4"),
        ("Caf\u00e9", "d.mp4"),
        ("./e.mp4", ""),
        ("drafts/deep/", "c.mp4"),
    ],
)
def test_a_pattern_matches_as_it_was_typed(folder: Path, pattern: str, out: str) -> None:
    assert left(folder, pattern) == set(out.split())


@pytest.mark.parametrize(
    ("typed", "meaning"),
    [("./x", "{}/x"), ("~/x/*", "{}/x/*"), ("../x/", "{}/../x"), ("films/drafts", "{}/films/drafts"), (".", "{}")],
)
def test_a_path_can_be_remembered_for_other_current_folders(folder: Path, typed: str, meaning: str) -> None:
    assert without_current_folder(typed) == os.path.normpath(meaning.format(folder.parent))
    assert without_current_folder("drafts/*") == "drafts/*"
    assert without_current_folder("films") == "films"


def test_a_path_through_a_link_matches_what_it_leads_to(folder: Path) -> None:
    folder.with_name("link").symlink_to("films")
    assert left(folder, "./link/drafts") == {"b.mp4", "c.mp4"}
    found = {video.path.name for video in find_videos([folder.with_name("link")], [str(folder / "drafts")])}
    assert found == {"a.mp4", "d.mp4", "e.mp4"}


def test_patterns_that_match_nothing_are_told_with_the_nearest_name(folder: Path) -> None:
    patterns = ["draft", "Drafts", "*.mp4", "xyz", "./films/draft/"]
    assert survey_folders([folder], patterns).unused == [
        Unused("draft", "drafts"),
        Unused("Drafts", "drafts"),
        Unused("xyz", None),
        Unused("./films/draft/", "drafts"),
    ]


@pytest.mark.parametrize(
    ("lines", "out"),
    [
        ("drafts/", "b.mp4 c.mp4"),
        ("*.mp4\n!e.mp4", "a.mp4 b.mp4 c.mp4 d.mp4"),
        ("/drafts/*.mp4", "b.mp4"),
        ("deep", "c.mp4"),
        ("# drafts\n\n\\[2019] Trip", "a.mp4"),
        ("**/deep/**", "c.mp4"),
        ("\ufeffdrafts/deep/\r\ne.mp4\r\n", "c.mp4 e.mp4"),
    ],
)
def test_an_ignore_file_leaves_out_as_git_does(folder: Path, lines: str, out: str) -> None:
    (folder / ".vidfindignore").write_bytes(lines.encode())
    assert left(folder) == set(out.split())


def test_the_nearest_ignore_file_decides(folder: Path) -> None:
    (folder / ".vidfindignore").write_text("*.mp4")
    (folder / "drafts" / ".vidfindignore").write_text("!*.mp4\ndeep")
    assert left(folder) == {"a.mp4", "c.mp4", "d.mp4", "e.mp4"}


def test_an_ignore_file_above_counts_but_not_against_the_folder_that_is_named(folder: Path) -> None:
    (folder / ".vidfindignore").write_text("deep")
    assert {video.path.name for video in find_videos([folder / "drafts"])} == {"b.mp4"}
    assert {video.path.name for video in find_videos([folder / "drafts" / "deep"])} == {"c.mp4"}
    assert {video.path.name for video in find_videos([folder / "drafts" / "deep" / "c.mp4"])} == {"c.mp4"}


def test_a_line_that_is_no_pattern_is_told_with_its_number(folder: Path) -> None:
    (folder / "drafts" / ".vidfindignore").write_text("a\n!\n")
    with pytest.raises(BadInput, match=r"drafts/\.vidfindignore, line 2: '!' is no pattern"):
        list(find_videos([folder]))
