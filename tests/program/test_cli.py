"""The program as a user meets it: what it prints where, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.players import noting_player
from tests.support.ran import Run
from tests.support.stored import put
from tests.support.waiting import wait_until
from vidfind import __version__
from vidfind.demo.collection import draw_collection


def program(*arguments: object, home: Path | None = None, **options: Any) -> subprocess.Popen[str]:
    """vidfind in a process of its own."""
    environment = {**os.environ, "VIDFIND_HOME": str(home or "/nowhere")}
    command = [sys.executable, "-m", "vidfind", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, text=True, **{**pipes, **options})


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four drawn videos, one in a folder within; nobody may write to it."""
    folder = tmp_path_factory.mktemp("films")
    drawn = draw_collection(folder, 4)
    (folder / "inner").mkdir()
    drawn[3][0].rename(folder / "inner" / drawn[3][0].name)
    return folder


@pytest.fixture(scope="session")
def indexed_home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose index holds the films: made once, because starting the program costs seconds."""
    home = tmp_path_factory.mktemp("home")
    process = program("index", films, "--model", "tiny", "--device", "cpu", home=home)
    out, err = process.communicate()
    assert process.returncode == 0, err  # on a busy machine, where this takes half a minute, it reports progress
    assert out.startswith("4 new: 0:")
    return home


@pytest.fixture
def indexed(run: Run, indexed_home: Path, tmp_path: Path) -> Path:
    """The program's home, with the films indexed."""
    return Path(shutil.copytree(indexed_home, tmp_path / "home"))


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


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
        ["search", "dog", "--like", "a.jpg"],
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
        {"path", "status", "segments", "seconds", "message", "damage", "off"}
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
    assert (ran.code, ran.out) == (3, "1 unchanged, 1 failed.\n")
    assert ran.err == "As before, 1 video could not be read: `status` says why, --force tries again.\n"
    ran = run("status")
    assert ran.code == 0
    assert "Videos    5; 1 more could not be read" in ran.out
    assert r"bro\x1b[31mken.mp4 " in ran.err


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
    header, _, *rows = ran.out.splitlines()
    assert header.split() == ["#", "Score", "File", "Moment", "Length", "Date"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    assert "\x1b" not in ran.out


def test_search_tells_moments_as_json(run: Run, indexed: Path, films: Path) -> None:
    moments = objects(run("search", "a red circle", "--json", "-n", 2).out)
    assert [moment["rank"] for moment in moments] == [1, 2]
    assert list(moments[0]) == ["rank", "score", "path", "start", "end", "duration", "created", "online", "damage"]
    assert (moments[0]["online"], moments[0]["damage"]) == (True, "")
    assert moments[0]["score"] >= moments[1]["score"]
    assert Path(moments[0]["path"]).is_relative_to(films)
    assert 0 <= moments[0]["start"] < moments[0]["end"] <= moments[0]["duration"] + 0.1


def test_search_prints_plain_paths_for_pipes(run: Run, indexed: Path, films: Path) -> None:
    lines = run("search", "a red circle", "--paths").out.splitlines()
    assert {Path(line) for line in lines} == set(films.rglob("*.mp4"))


def test_search_prints_paths_that_xargs_takes_whatever_their_names(run: Run, indexed: Path, films: Path) -> None:
    run("relink", films / "inner", "/a folder\nof two lines")
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
    assert ran.err.startswith("Nothing found.")


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("date", ["yesterday", "2024-13", ""])
def test_a_date_that_is_none_is_wrong_usage(run: Run, option: str, date: str) -> None:
    ran = run("search", "circle", option, date)
    assert (ran.code, ran.out) == (2, "")
    assert f"{date!r} is not a date: write 2024" in " ".join(ran.err.split())


def test_videos_that_are_not_there_are_marked_and_can_be_hidden(run: Run, indexed: Path, films: Path) -> None:
    run("relink", films / "inner", "/nowhere")
    lines = [line for line in run("search", "circle").out.splitlines() if line.split()[0].isdigit()]
    assert [line.split()[2:4] for line in lines if "offline" in line] == [["/nowhere/clip-4.mp4", "offline"]]
    moments = objects(run("search", "circle", "--json").out)
    assert {moment["path"]: moment["online"] for moment in moments}["/nowhere/clip-4.mp4"] is False
    assert "/nowhere" not in run("search", "circle", "--online", "--paths").out
    assert len(run("search", "circle", "--online", "--paths", "-n", 3).out.splitlines()) == 3
    run("relink", films, "/nowhere/else")
    ran = run("search", "circle", "--online")
    assert (ran.code, ran.out, ran.err) == (0, "", "Nothing found. Loosen the filters?\n")
    assert run("status").out.count(", not there now") == 1


def test_search_can_be_limited_to_good_scores(run: Run, indexed: Path) -> None:
    assert run("search", "circle", "--min-score", "1.1", "--paths").out == ""


def test_a_query_may_begin_with_a_dash_after_two(run: Run, indexed: Path) -> None:
    assert run("search", "-n", "1", "--", "-fast", "car").code == 0


def test_a_moment_of_a_video_finds_that_video(run: Run, indexed: Path, films: Path) -> None:
    video = films / "clip-2.mp4"
    assert run("search", "--like", f"{video}@0:01", "--paths", "-n", 1).out == f"{video}\n"


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
    lines = [f"{row['path']} {row['start']} {row['end']} {row['score']}" for row in found]
    assert printed.getvalue().splitlines() == lines


# status, remove, models


def test_status_tells_what_is_indexed_and_how(run: Run, indexed: Path, films: Path) -> None:
    ran = run("status")
    facts = {line[:10].strip(): line[10:].strip() for line in ran.out.splitlines()}
    assert ran.err == ""
    assert facts["Model"] == "tiny / builtin"
    assert facts["Encoder"].startswith("tempme, 12 frames of each 10 s segment")
    assert (facts["Videos"], facts["Segments"], facts["Folders"]) == ("4", "4", str(films))
    assert re.fullmatch(r"\d+\.\d seconds", facts["Footage"])
    assert facts["On disk"].endswith(" kB")


def test_status_tells_of_videos_that_are_not_whole_or_could_not_be_read(run: Run, indexed: Path, films: Path) -> None:
    from vidfind.store.store import Store

    store = Store.open(indexed / "indexes" / "default")
    row = next(row for path, row in store.videos().items() if path.name == "clip-1.mp4")
    put(store, [dataclasses.replace(row, damage="ends early: 0:28 of 0:35 is there")])
    bad = [dataclasses.replace(row, path=films / f"bad-{i:02}.mp4", failed="is empty") for i in range(23)]
    put(store, bad)
    ran = run("status")
    assert "Videos    4, of which 1 could be read only in part; 23 more could not be read " in ran.out
    assert ran.err.splitlines() == [
        "23 videos could not be read:",
        *[f"  {films / f'bad-{i:02}.mp4'} is empty" for i in range(20)],
        "  and 3 more; -v shows all",
        "1 video could be read only in part:",
        f"  {films / 'clip-1.mp4'} ends early: 0:28 of 0:35 is there",
    ]
    assert "clip-1.mp4 incomplete " in run("search", "circle").out
    assert run("status", "-v").err.count(" is empty\n") == 23


def test_remove_forgets_videos_and_leaves_their_files(run: Run, indexed: Path, films: Path) -> None:
    ran = run("remove", films / "inner")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("Forgot 1 video.")
    assert len(run("search", "circle", "--paths").out.splitlines()) == 3
    assert (films / "inner" / "clip-4.mp4").exists()
    ran = run("remove", films / "inner")
    assert ran.code == 1
    assert str(films / "inner") in ran.err


def test_relink_gives_videos_another_path_and_says_if_nothing_is_there(
    run: Run, indexed: Path, films: Path, tmp_path: Path
) -> None:
    ran = run("relink", films, "/nowhere/films")
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
        "The index had 1 of them by the new path already: of the two, one that could be read stays."
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
    relinked = objects(run("relink", films / "inner", "/elsewhere", "--json").out)
    assert [one["old"] for one in relinked] == [str(path) for path in sorted((films / "inner").iterdir())]
    assert all(one["path"].startswith("/elsewhere/") and one["was_known"] is False for one in relinked)
    ran = run("remove", "/elsewhere", "--json")
    assert (objects(ran.out), ran.err) == ([{"path": relinked[0]["path"]}], "")
    assert objects(run("remove", "--all", "--yes", "--json").out) == [{"index": "default"}]


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
    assert (again.code, again.err) == (3, "")
    ran = run("remove", bad, "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = run("status", "--index", "none-there", "-q")
    assert ran.code == 1 and ran.err.startswith("Error: There is no index")


def test_models_lists_what_can_be_chosen(run: Run) -> None:
    ran = run("models")
    assert (ran.code, ran.err) == (0, "")
    header, _, *rows = ran.out.splitlines()
    assert header.split() == ["Model", "Weights", "Size", "Licence", "Here", "Note"]
    assert rows[0].startswith("ViT-B-32  ")
    assert any(row.split()[0] == "tiny" and "yes" in row.split() for row in rows)


# The process itself


def test_verbose_says_on_stderr_what_is_done(indexed_home: Path, films: Path) -> None:
    process = program("index", films, "-v", home=indexed_home)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, "4 unchanged.\n")
    assert "4 videos found, 0 to encode" in err


@pytest.mark.skipif(os.name == "nt", reason="there are no such terminals there")
def test_a_terminal_sees_what_is_going_on_and_stdout_stays_clean(
    indexed_home: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, its = os.openpty()
    process = program("index", films, home=indexed_home, stderr=its)
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # so a terminal ends when nobody writes to it any more
        while part := os.read(ours, 1000):
            shown += part
    os.close(ours)
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, "4 unchanged.\n")
    assert b"Starting" in shown
    assert shown.endswith((b"\x1b[2K", b"\x1b[?25h", b"\x1b[1A\x1b[2K"))  # wiped away, with the cursor back


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(run: Run, indexed: Path, films: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so its children
    process = program("-v", "index", "--force", films, home=indexed)
    assert process.stderr
    while "to encode" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    ran = run("index", films)
    assert (ran.code, ran.out) == (0, "4 unchanged.\n")


# Readers that leave early, as head does


no_windows_pipes = pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise there")


def run_unread(*arguments: object, home: Path, with_errors: bool = False) -> tuple[int, list[str]]:
    """The exit code, and the complaints on stderr, of a command whose output has no reader from the start."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": writing, "stderr": writing if with_errors else subprocess.PIPE}
    process = program(*arguments, home=home, **streams)
    os.close(writing)
    _, err = process.communicate()
    complaints = [line for line in (err or "").splitlines() if re.search("Traceback|Exception|Error|[Bb]roken", line)]
    return process.returncode, complaints


@no_windows_pipes
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["models"],
        ["status"],
        ["search", "circle"],
        ["search", "circle", "--paths"],
        ["search", "circle", "--json"],
        ["encoders", "--model", "tiny"],
        ["adapters", "--json"],
    ],
    ids=" ".join,
)
def test_a_reader_that_leaves_early_is_no_error(arguments: list[str], indexed_home: Path) -> None:
    assert run_unread(*arguments, home=indexed_home) == (0, [])


@no_windows_pipes
def test_exit_codes_stay_what_they_are(tmp_path: Path) -> None:
    assert run_unread("status", home=tmp_path, with_errors=True) == (1, [])
    assert run_unread("search", "--nonsense", home=tmp_path, with_errors=True) == (2, [])


@no_windows_pipes
@pytest.mark.parametrize("with_errors", [False, True], ids=["stdout", "both"])
def test_an_index_becomes_whole_without_a_reader(with_errors: bool, films: Path, tmp_path: Path) -> None:
    command = ["-v", "index", films, "--model", "tiny", "--device", "cpu", "--json"]
    assert run_unread(*command, home=tmp_path, with_errors=with_errors) == (0, [])
    out, _ = program("status", home=tmp_path).communicate()
    assert re.search(r"^Videos +4 *$", out, re.MULTILINE)


@no_windows_pipes
def test_a_watch_ends_when_nobody_reads_on(films: Path, tmp_path: Path) -> None:
    assert run_unread("index", films, "--model", "tiny", "--watch", "--json", home=tmp_path)[0] == 0


@no_windows_pipes
def test_of_the_demo_the_first_line_can_be_read_alone(run: Run, tmp_path: Path) -> None:
    with program("demo", home=tmp_path / "home") as demo:
        assert demo.stdout and demo.stderr
        assert demo.stdout.readline() == "Drew 24 videos of moving shapes; their names say nothing.\n"
        demo.stdout.close()
        assert "Traceback" not in demo.stderr.read()
    assert demo.returncode == 0
    assert re.search(r"^Videos +24 *$", run("status", "--index", "demo").out, re.MULTILINE)


# demo


def test_the_demo_draws_indexes_and_searches_and_can_be_run_again(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        ran = run("demo")
        assert ran.code == 0, ran.err
        assert "\n24 new: " in ran.out
        assert ran.out.count('vidfind search "a ') == 4  # after "$ ", or "$ uv run " where uv runs the tests
        firsts = re.findall(r"^ *1 +\S+ +(\S+\.mp4) ", ran.out, flags=re.MULTILINE)
        # Each of two shapes is there twice, moving in opposite ways: which one is found is a matter of time alone.
        assert [Path(path).stem for path in firsts] == ["clip-07", "clip-09", "clip-16", "clip-21"]
        assert "knows nothing but this small world" in ran.out
        assert "ViT-B-32 (605 MB) is downloaded once" in ran.out
        assert 'vidfind search "dog catching frisbee" --open 1\n' in ran.out
        assert ran.out.endswith("vidfind remove --all --index demo\n")
    assert len(list((tmp_path / "home" / "demo-videos").iterdir())) == 24


def test_of_the_demo_nothing_is_left_when_its_index_is_deleted(run: Run, tmp_path: Path) -> None:
    run("demo")
    ran = run("remove", "--all", "--index", "demo")
    assert (ran.code, ran.err) == (1, "Error: Deleting the index 'demo' must be confirmed: add --yes.\n")
    ran = run("remove", "--all", "--yes", "--index", "demo")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "Deleted the index 'demo'.\nDeleted 24 videos that the demo had drawn.\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "home" / "demo-videos").exists()


def test_what_a_demo_that_was_stopped_has_drawn_is_deleted_and_files_of_others_stay(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "demo-videos"
    folder.mkdir(parents=True)
    for name in ("clip-01.mp4", "clip-25.mp4", "mine.mp4"):
        (folder / name).touch()
    ran = run("remove", "--all", "--index", "demo")
    assert (ran.code, ran.err) == (0, "Deleted 1 video that the demo had drawn.\n")
    assert sorted(path.name for path in folder.iterdir()) == ["clip-25.mp4", "mine.mp4"]


def test_the_demo_leaves_an_index_of_its_name_alone(run: Run, indexed: Path, films: Path) -> None:
    (indexed / "indexes" / "default").rename(indexed / "indexes" / "demo")
    ran = run("demo")
    assert (ran.code, ran.out) == (1, "")
    assert f"yours of that name holds {films}. Delete it first: vidfind remove --all --index demo" in ran.err
