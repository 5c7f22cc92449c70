"""The program as a user meets it: what it prints where, and how it ends."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path

import pytest

from tests.support.players import noting_player
from tests.support.program import objects
from tests.support.ran import Run
from tests.support.waiting import wait_until
from vidfind import __version__

# Help and usage


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").out == f"vidfind {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["index"],
        ["index", "--encoder", "best", "."],
        ["index", "--segment", "0", "."],
        ["search", "  "],
        ["search", "dog", "-n", "0"],
        ["search", "dog", "-n", "many"],
        ["search", "dog", "--open", "0"],
        ["search", "dog", "--since", "2025", "--until", "2024"],
        ["search", "dog", "--json", "--paths"],
        ["search", "dog", "--json", "-0"],
        ["search", "dog", "--colour"],
        ["remove"],
        ["remove", "a.mp4", "--all"],
        ["relink", "/old"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_a_hint(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err
    assert "Try 'vidfind" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "dog"], "no index 'default' yet. Make it: vidfind index FOLDER"),
        (["search", "dog", "--index", "work"], "Make it: vidfind index FOLDER --index work"),
        (["search", "dog", "--index", "../x"], "'../x' cannot name an index"),
        (["status"], "no index 'default' yet"),
        (["remove", "/a"], "no index 'default' yet"),
        (["remove", "--all"], "no index 'default'"),
        (["index", "/no/such/folder"], "There is no folder or video /no/such/folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_with_the_remedy(run: Run, arguments: list[str], message: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: ")
    assert ran.err.count("\n") == 1
    assert message in ran.err


def test_a_home_that_cannot_be_is_an_error_that_names_it(
    run: Run, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "file" / "home"))
    ran = run("index", films, "--model", "tiny")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert ran.err.startswith(f"Error: {tmp_path / 'file'}")


def test_a_model_nobody_knows_is_an_error_that_names_it(run: Run, films: Path) -> None:
    ran = run("index", films, "--model", "ViT-B-99")
    assert (ran.code, ran.out) == (1, "")
    assert "ViT-B-99" in ran.err.splitlines()[-1]


# index


def test_indexing_again_finds_everything_unchanged(run: Run, indexed: Path, films: Path) -> None:
    ran = run("index", films)
    assert (ran.code, ran.out, ran.err) == (0, "4 unchanged.\n", "")


def test_index_tells_each_video_as_json_and_a_summary(run: Run, indexed: Path, films: Path) -> None:
    *videos, last = objects(run("index", films, "--json").out)
    assert [set(video) for video in videos] == [
        {"path", "status", "segments", "seconds", "message", "damage", "off", "failed_before"}
    ] * 4
    assert {Path(video["path"]).name for video in videos} == {f"clip-{number}.mp4" for number in (1, 2, 3, 4)}
    assert {video["status"] for video in videos} == {"unchanged"}
    assert last["summary"]["unchanged"] == 4
    assert last["summary"]["new"] == 0


def test_a_video_that_cannot_be_read_is_told_and_ends_with_3(
    run: Run, indexed: Path, films: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(films / "clip-1.mp4", folder)
    (folder / "bro\x1b[31mken.mp4").write_text("no video at all, only words\n" * 50)
    ran = run("index", folder)
    assert (ran.code, ran.out) == (3, "1 new (1 as a copy), 1 failed.\n")
    heading, failure = ran.err.splitlines()
    assert heading == "1 video could not be read:"
    assert r"bro\x1b[31mken.mp4 " in failure
    ran = run("index", folder)
    assert (ran.code, ran.out) == (0, "1 unchanged, 1 failed.\n")  # nothing that was not known
    assert ran.err == (
        "As before, 1 video could not be read. vidfind status says why. To try one of them again: "
        "vidfind index FILE --force\n"
    )
    assert ran.err.count("\n") == 1
    ran = run("status")
    assert ran.code == 0
    assert "Videos    5; 1 more could not be read" in ran.out
    assert r"bro\x1b[31mken.mp4 " in ran.out and ran.err == ""
    *videos, last = objects(run("index", folder, "--json").out)
    assert [video["failed_before"] for video in videos if video["status"] == "failed"] == [True]
    assert (last["summary"]["failed"], last["summary"]["failed_before"]) == (1, 1)


def test_an_index_keeps_its_settings_and_refuses_others(run: Run, indexed: Path, films: Path) -> None:
    ran = run("index", films, "--encoder", "mean")
    assert ran.code == 1
    assert "made with encoder tempme, not mean" in ran.err
    assert "--encoder mean --index NAME" in ran.err
    assert "vidfind remove --all && vidfind index" in ran.err


def test_excluded_videos_are_left_out(run: Run, indexed: Path, films: Path) -> None:
    assert run("index", films, "--exclude", "inner").out == "3 unchanged, 1 removed.\n"


# search


def test_search_shows_a_table_on_stdout_and_nothing_else(run: Run, indexed: Path) -> None:
    ran = run("search", "a", "red", "circle")
    assert (ran.code, ran.err) == (0, "")
    header, *rows = ran.out.splitlines()
    assert header.split("\t") == ["#", "Score", "File", "Moment", "Length", "Date", "Note"]
    assert [row.split("\t")[0] for row in rows] == ["1", "2", "3", "4"]
    assert "\x1b" not in ran.out


def test_search_tells_moments_as_json(run: Run, indexed: Path, films: Path) -> None:
    moments = objects(run("search", "a red circle", "--json", "-n", 2).out)
    assert [moment["rank"] for moment in moments] == [1, 2]
    names = ["query", "rank", "score", "path", "start", "end", "duration", "created", "online", "damage"]
    assert list(moments[0]) == [*names, "created_from", "copies", "match", "alike", "tags", "tags_auto"]
    assert (moments[0]["online"], moments[0]["damage"]) == (True, "")
    assert moments[0]["score"] >= moments[1]["score"]
    assert Path(moments[0]["path"]).is_relative_to(films)
    assert 0 <= moments[0]["start"] < moments[0]["end"] <= moments[0]["duration"] + 0.1


def test_search_prints_plain_paths_for_pipes(run: Run, indexed: Path, films: Path) -> None:
    lines = run("search", "a red circle", "--paths").out.splitlines()
    assert {Path(line) for line in lines} == set(films.rglob("*.mp4"))


def test_search_prints_paths_that_xargs_takes_whatever_their_names(run: Run, indexed: Path, films: Path) -> None:
    run("relink", films / "inner", "/a folder\nof two lines", "--yes")
    for option in ("-0", "--print0"):
        *found, end = run("search", "a red circle", option).out.split("\0")
        assert end == ""
        assert set(map(Path, found)) == {*films.glob("*.mp4"), Path("/a folder\nof two lines/clip-4.mp4")}


def test_search_can_be_limited_to_a_folder(run: Run, indexed: Path, films: Path) -> None:
    assert run("search", "circle", "--in", films / "inner", "--paths").out == f"{films / 'inner' / 'clip-4.mp4'}\n"


def test_search_can_be_limited_to_dates_both_included(run: Run, indexed: Path) -> None:
    (today,) = {moment["created"][:4] for moment in objects(run("search", "circle", "--json").out)}
    assert len(run("search", "circle", "--since", today, "--until", today, "--paths").out.splitlines()) == 4
    ran = run("search", "circle", "--until", "1999-12-31")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("Nothing passes --until. Without it, the best is clip-")


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("date", ["soon", "2024-5-17-1"])
def test_a_date_that_is_none_is_wrong_usage(run: Run, option: str, date: str) -> None:
    ran = run("search", "circle", option, date)
    assert (ran.code, ran.out) == (2, "")
    assert f"{date!r} is not a date: write 2024" in " ".join(ran.err.split())


def test_videos_that_are_not_there_are_marked_and_can_be_hidden(run: Run, indexed: Path, films: Path) -> None:
    run("relink", films / "inner", "/nowhere", "--yes")
    lines = [line for line in run("search", "circle").out.splitlines() if line.split()[0].isdigit()]
    assert [line.split("\t")[2] for line in lines if line.endswith("\toffline")] == ["/nowhere/clip-4.mp4"]
    moments = objects(run("search", "circle", "--json").out)
    assert {moment["path"]: moment["online"] for moment in moments}["/nowhere/clip-4.mp4"] is False
    assert "/nowhere" not in run("search", "circle", "--online", "--paths").out
    assert len(run("search", "circle", "--online", "--paths", "-n", 3).out.splitlines()) == 3
    run("relink", films, "/nowhere/else", "--yes")
    ran = run("search", "circle", "--online")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("Nothing passes --online. Without it, the best is clip-")
    assert run("status").out.count(", not there now") == 1


def test_search_can_be_limited_to_good_scores(run: Run, indexed: Path) -> None:
    assert run("search", "circle", "--min-score", "0.999", "--paths").out == ""


def test_a_query_may_begin_with_a_dash_after_two(run: Run, indexed: Path) -> None:
    assert run("search", "-n", "1", "--", "-fast", "car").code == 0


def test_a_moment_of_a_video_finds_other_videos(run: Run, indexed: Path, films: Path) -> None:
    video = films / "clip-2.mp4"
    found = run("search", "--like", f"{video}@0:01", "--paths").out.splitlines()
    assert set(map(Path, found)) == set(films.rglob("*.mp4")) - {video}


def test_an_unreadable_example_is_an_error_that_names_it(run: Run, indexed: Path, tmp_path: Path) -> None:
    picture = tmp_path / "broken.jpg"
    picture.write_text("no picture")
    ran = run("search", "--like", picture)
    assert (ran.code, ran.out) == (1, "")
    assert str(picture) in ran.err


def test_search_on_an_emptied_index_says_what_to_type(run: Run, indexed: Path, films: Path) -> None:
    run("remove", films)
    ran = run("search", "dog")
    assert ran.code == 1
    assert "holds no videos yet. Add some: vidfind index FOLDER" in ran.err


@pytest.mark.skipif(os.name == "nt", reason="a shell script plays the player")
def test_open_starts_the_player_at_the_moment(
    run: Run, indexed: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, played = noting_player(tmp_path)
    monkeypatch.setenv("VIDFIND_PLAYER", command)
    paths = run("search", "a red circle", "--paths", "--open", 2).out.splitlines()
    wait_until(played.exists)
    assert played.read_text() == f"0.00 {paths[1]}\n"
    ran = run("search", "a red circle", "--open", 5)
    assert ran.code == 1
    assert "There is no result 5 to open: 4 moments found." in ran.err


def test_the_python_example_of_the_readme_finds_the_same(run: Run, indexed: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    example = readme.split("```python\n")[1].split("```")[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example, {})
    found = objects(run("search", "dog catching frisbee", "-n", 3, "--json").out)
    for line, row in zip(printed.getvalue().splitlines(), found, strict=True):
        path, start, end, score = line.rsplit(" ", 3)
        assert (path, round(float(start), 3), round(float(end), 3)) == (row["path"], row["start"], row["end"])
        assert round(float(score), 4) == row["score"]
