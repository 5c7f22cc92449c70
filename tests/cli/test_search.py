"""Many queries in one run: the prompt, as somebody types into it, and the lines of a pipe."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input

from tests.support.players import noting_player
from tests.support.program import run_here
from tests.support.ran import Run
from tests.support.waiting import PATIENCE, wait_until
from vidfind.cli.search import read_line
from vidfind.cli.shared.prompt import Answers, answer_prompt, change_answers, make_prompt, typing_ahead
from vidfind.demo.collection import draw_collection
from vidfind.errors import BadInput
from vidfind.search.question.expression import Expression
from vidfind.search.question.filters import Filters

ENTER, CTRL_C, CTRL_D = "\r", "\x03", "\x04"
OTHER_HOUR = (datetime.now().hour + 12) % 24
"""An hour of the day at which the videos here, which are new, were not made."""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose index holds three drawn videos; made once."""
    folder, home = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("prompt-home")
    draw_collection(folder, 3)
    run_here(home, "index", folder, "--model", "tiny", "--device", "cpu")
    return home


@pytest.fixture
def at_home(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where this process looks for it."""
    (home / "history").unlink(missing_ok=True)
    monkeypatch.setenv("VIDFIND_HOME", str(home))
    return home


@pytest.fixture
def keyboard(at_home: Path) -> Iterator[PipeInput]:
    """What is sent to it is typed at the prompt."""
    with create_pipe_input() as typed, create_app_session(input=typed):
        yield typed


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def tables(text: str) -> int:
    """How many there are in what was printed."""
    return sum(line.split()[:2] == ["#", "Score"] for line in text.splitlines())


# Lines of a pipe


def test_each_line_of_a_pipe_is_a_query(at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"a red circle\n\n  a blue \xff star\n")
    ran = run("search", "-n", "1", "--json")
    assert (ran.code, ran.err) == (0, "")
    answers = [json.loads(line) for line in ran.out.splitlines()]
    assert [(answer["query"], answer["rank"]) for answer in answers] == [("a red circle", 1), ("a blue \ufffd star", 1)]


def test_an_export_from_a_pipe_knows_the_query(
    at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = run("search", "a", "red", "circle", "--not", "a star", "-n", "2", "--json").out
    pipe(monkeypatch, found.encode())
    assert run("export", "--timeline", tmp_path / "a.csv").code == 0
    with open(tmp_path / "a.csv", newline="") as file:
        assert [row["query"] for row in csv.DictReader(file)] == ["a red circle"] * 2
    path = json.loads(found.splitlines()[0])["path"]
    assert "query" not in json.loads(run("search", "--like", f"{path}@0", "-n", "1", "--json").out)


def test_a_pipe_without_a_query_is_no_misuse(at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"\n  \n")
    ran = run("search")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "No query came in. Give words to look for, --like FILE, or both.\n"


def test_a_pipe_gets_a_table_for_each_query_under_its_words(
    at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, b"a red circle\na \x1b[31mstar")
    lines = run("search").out.splitlines()
    assert [lines[n] for n in (1, 7)] == ["a red circle", r"a \x1b[31mstar"]
    assert tables("\n".join(lines)) == 2
    assert [line.split("\t")[-1] for line in lines[2:4]] == ["Query", "a red circle"]
    assert lines[9].split("\t")[-1] == r"a \x1b[31mstar"


def test_a_query_that_cannot_be_answered_does_not_end_the_others(
    at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, "\u200b\na red circle\n".encode())
    ran = run("search", "--paths")
    assert (ran.code, len(ran.out.splitlines())) == (1, 3)
    assert ran.err.startswith("Error: The query is empty.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--open", "1"], "--open needs a query"),
        ([""], "QUERY is empty.\n"),
        (["  ", " \t"], "QUERY is empty.\n"),
        (["--pictures", "--json"], "--pictures shows results to you"),
        (["--sheet", "a.pdf"], "a.pdf is no name of a sheet"),
    ],
    ids=["open", "empty", "spaces", "pictures", "sheet"],
)
def test_a_search_for_nothing_is_wrong_usage(
    run: Run, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, b"\n")
    ran = run("search", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"Error: {said}")
    assert "Try 'vidfind search" in ran.err


# Filters


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--min-score", "0.999"], r"No moment passes --min-score 0\.999 \(best here: 0\.\d{3}\)\."),
        (["--since", "2099"], r"Nothing passes --since\. Without it, the best is clip-\d+\.mp4, filmed on \d{4}-.*"),
        (
            ["--since", "2099", "--between", f"{OTHER_HOUR}:00", f"{OTHER_HOUR}:01"],
            r"Nothing found\. No video passes --since, --between together\.",
        ),
        (["--exclude", "*.mp4", "--min-score", "0"], r"Nothing passes --exclude\. .*"),
    ],
)
def test_a_search_that_finds_nothing_names_the_filter(arguments: list[str], said: str, at_home: Path, run: Run) -> None:
    ran = run("search", "a star", *arguments)
    assert (ran.code, ran.out) == (0, "")
    assert re.fullmatch(said, ran.err.strip())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--min-score", "5"], "out of range: scores lie between -1 and 1"),
        (["--in", ""], "is empty"),
        (["--since", "01/02/2024"], "may be 2024-01-02 or 2024-02-01"),
        (["--between", "22:00", "26:00"], "'26:00' is not a time of day"),
    ],
)
def test_filters_that_make_no_sense_are_wrong_usage(arguments: list[str], reason: str, run: Run) -> None:
    ran = run("search", "a star", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert reason in ran.err


def test_json_has_rounded_numbers_and_says_where_the_date_is_from(at_home: Path, run: Run) -> None:
    lines = run("search", "a star", "--json").out.splitlines()
    assert len(lines) == 3
    for line in lines:
        moment = json.loads(line)
        assert (moment["created_from"], moment["copies"]) == ("file", [])
        assert all(len(str(moment[name]).partition(".")[2]) <= 3 for name in ("start", "end", "duration"))
        assert len(str(moment["score"]).partition(".")[2]) <= 4


# What is looked for


def test_one_bad_line_of_many_fails_alone(at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["a red circle --not a star", "a star --then", "a circle --limit 1", *["a star"] * 5]
    pipe(monkeypatch, "\n".join(lines).encode())
    ran = run("search", "--json", "-n", "2")
    assert (ran.code, ran.err) == (1, "Error: --then needs words behind it.\n")
    queries = [json.loads(line)["query"] for line in ran.out.splitlines()]
    assert queries == [lines[0]] * 2 + [lines[2]] + ["a star"] * 10


def test_more_like_a_result_is_found_at_the_prompt(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    keyboard.send_text(f"--like 1{ENTER}a star{ENTER}--like 1{ENTER}--like 9{ENTER}{CTRL_D}")
    answer_prompt("default", Answers(form="json"), read_line)
    captured = capsys.readouterr()
    found = [json.loads(line)["path"] for line in captured.out.splitlines() if line.startswith("{")]
    assert len(found) == 5 and found[0] not in found[3:]
    assert "There is no file 1." in captured.err
    assert "There is no result 9: 2 moments found." in captured.err


def test_a_negation_in_words_is_remarked_once(at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"a star\na star Without a circle\nno star\na knot")
    ran = run("search", "--paths")
    assert ran.err.count("understand") == 1
    assert "The model does not understand 'without': say it as --not TEXT.\n" in ran.err


def test_nothing_follows_in_videos_of_one_segment(at_home: Path, run: Run) -> None:
    ran = run("search", "a", "star", "--then", "a", "circle", "--within", "30s")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "No video has 2 segments that follow one another within 30 seconds.\n"


def test_the_moments_of_a_query_become_clips(at_home: Path, run: Run, tmp_path: Path) -> None:
    found = [json.loads(line) for line in run("search", "a star", "-n", "2", "--json").out.splitlines()]
    ran = run("export", "a star", "-n", "2", "--clips", tmp_path, "--timeline", tmp_path / "a.csv", "--json")
    assert (ran.code, ran.err) == (0, "")
    *made, timeline = [json.loads(line) for line in ran.out.splitlines()]
    assert [(one["path"], one["start"], one["end"]) for one in made] == [
        (one["path"], one["start"], one["end"]) for one in found
    ]
    assert all(Path(one["clip"]).is_file() for one in made)
    assert Path(timeline["timeline"]).read_text().count("a star") == 2


def test_in_a_pipe_pictures_are_a_table_and_a_remark(at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("search", "a star", "--pictures")
    assert ran.out == run("search", "a star").out
    assert ran.err == "Pictures are shown only in a terminal. For a file of them: --sheet FILE.\n"
    pipe(monkeypatch, b"a star\na circle\n")
    assert run("search", "--pictures").err.count("Pictures are shown only") == 1


def test_a_search_writes_a_sheet_beside_its_answer(at_home: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a star.html"
    ran = run("search", "a star", "-n", "2", "--json", "--sheet", file)
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, f"2 moments in {file}\n")
    page = file.read_text(encoding="utf-8")
    assert [page.count(f">{Path(one['path']).name}<") for one in found] == [1, 1]
    assert page.count("data:image/jpeg;base64,") == 2 and "<h1>a star</h1>" in page
    assert run("search", "a star", "--since", "2099", "--sheet", tmp_path / "none.jpg").code == 0
    assert not (tmp_path / "none.jpg").exists()


def test_each_line_of_a_pipe_gets_a_sheet_of_its_own(
    at_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["a star", "a circle --sheet circle.png", "--sheet a.pdf a star", "a star --sheet ~nobody-here/a.html"]
    pipe(monkeypatch, "\n".join(lines).encode())
    ran = run("search", "--sheet", tmp_path / "all.jpg", "-n", "1")
    assert sorted(os.listdir(tmp_path)) == ["all.jpg", "circle.png", "~nobody-here"]
    assert ran.code == 1 and "a.pdf is no name of a sheet" in ran.err and "mistake" not in ran.err


# The prompt


def test_pictures_are_wanted_for_a_line_or_until_the_end(
    keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["a star", "a star --pictures", ":pictures on", "a star", ":pictures", "a star"]
    keyboard.send_text("".join(f"{line}{ENTER}" for line in lines) + CTRL_D)
    answer_prompt("default", Answers(limit=1), read_line)
    assert capsys.readouterr().err.count("Pictures are shown only in a terminal") == 2


def test_each_line_typed_is_answered_until_an_empty_one(
    keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    keyboard.send_text(f"a red circle{ENTER}a star{ENTER}{ENTER}")
    answer_prompt("default", Answers(limit=2), read_line)
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].isdigit()]
    assert rows == ["1", "2", "1", "2"]


@pytest.mark.skipif(os.name == "nt", reason="a shell script plays the player")
def test_a_number_plays_the_result_of_that_rank(
    keyboard: PipeInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, played = noting_player(tmp_path)
    monkeypatch.setenv("VIDFIND_PLAYER", command)
    keyboard.send_text(f"1{ENTER}a star{ENTER}2{ENTER}4{ENTER}0{ENTER}{CTRL_D}")
    answer_prompt("default", Answers(), read_line)
    wait_until(played.exists)
    assert re.fullmatch(r"0\.00 .*\.mp4\n", played.read_text())
    captured = capsys.readouterr()
    assert tables(captured.out) == 1
    assert "Nothing is found yet that a number could play" in captured.err
    assert re.search(r"Playing clip-\d+\.mp4 from 0:00\.", captured.err)
    assert "There is no result 4 to open: 3 moments found." in captured.err
    assert "There is no result 0 to open" in captured.err


def test_an_error_does_not_end_the_prompt(
    keyboard: PipeInput, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIDFIND_PLAYER", "no-such-player {path}")
    keyboard.send_text(f"\u200b{ENTER}a star{ENTER}1{ENTER}a circle{ENTER}{CTRL_D}")
    answer_prompt("default", Answers(limit=1), read_line)
    captured = capsys.readouterr()
    assert tables(captured.out) == 2
    assert "The query is empty" in captured.err
    assert "no-such-player" in captured.err


def test_ctrl_c_clears_the_line(keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    keyboard.send_text(f"nonsense{CTRL_C}a star{ENTER}{CTRL_D}")
    answer_prompt("default", Answers(limit=1), read_line)
    assert tables(capsys.readouterr().out) == 1


def test_ctrl_c_stops_a_search_and_not_the_prompt(
    keyboard: PipeInput, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vidfind.search.searcher import Searcher

    find = Searcher.find

    def find_or_stop(searcher: Searcher, query: Expression, filters: Filters, limit: int, refine: bool) -> object:
        if query.words == "slow":
            raise KeyboardInterrupt
        return find(searcher, query, filters, limit, refine=refine)

    monkeypatch.setattr(Searcher, "find", find_or_stop)
    keyboard.send_text(f"slow{ENTER}a star{ENTER}{CTRL_D}")
    answer_prompt("default", Answers(limit=1), read_line)
    captured = capsys.readouterr()
    assert ("Stopped." in captured.err, tables(captured.out)) == (True, 1)


def test_learned_words_are_completed_whatever_their_case(keyboard: PipeInput) -> None:
    completer = make_prompt(["Rex", "blip"]).completer
    assert completer
    found = completer.get_completions(Document("a re"), CompleteEvent())
    assert [one.text for one in found] == ["Rex"]


def test_queries_of_earlier_times_are_under_the_arrow_keys(
    keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    keyboard.send_text(f"a star{ENTER}{CTRL_D}")
    answer_prompt("default", Answers(limit=1, form="json"), read_line)
    first = capsys.readouterr().out
    prompt = make_prompt()
    assert list(prompt.history.load_history_strings()) == ["a star"]
    assert first


def test_without_an_index_nothing_is_asked(run: Run, keyboard: PipeInput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    ran = run("search", "--index", "none")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "no index 'none' yet" in ran.err


@pytest.mark.skipif(os.name == "nt", reason="has other terminals")
def test_the_program_asks_on_a_terminal_and_keeps_results_apart(at_home: Path) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vidfind", "search", "-n", "1"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    typed = {b"\x1b[6n": b"\x1b[1;1R", b"vidfind>": b"a red circle\r\x04"}  # the first asks where the cursor is
    shown = b""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        for sign in [sign for sign in typed if sign in shown]:
            os.write(ours, typed.pop(sign))
        if select.select([ours], [], [], 0.1)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0, deadline - time.monotonic()))
    process.kill()  # which by now has ended, or never will
    out, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0
    assert b"Type what you remember" in shown
    assert out.decode().splitlines()[0].split() == ["#", "Score", "File", "Moment", "Length", "Date", "Note"]
    assert (at_home / "history").read_text(encoding="utf-8").rstrip().endswith("+a red circle")


@pytest.mark.skipif(os.name == "nt", reason="has other terminals")
def test_what_is_typed_between_two_prompts_waits_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    with os.fdopen(theirs) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with typing_ahead():
            os.write(ours, b"a dog\n\x04")
            assert os.read(theirs, 100) == b"a dog\n\x04"
        assert not select.select([ours], [], [], 0)[0]
        assert termios.tcgetattr(theirs) == before
    os.close(ours)


# What can be typed instead of a query


@pytest.mark.parametrize("word", ["quit", "exit", ":q"])
def test_the_prompt_ends_at_a_word(keyboard: PipeInput, capsys: pytest.CaptureFixture[str], word: str) -> None:
    keyboard.send_text(f"{word}{ENTER}")
    answer_prompt("default", Answers(), read_line)
    assert tables(capsys.readouterr().out) == 0


def test_the_prompt_explains_itself_and_a_number_before_any_result(
    keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    keyboard.send_text(f"?{ENTER}1{ENTER}:fly{ENTER}{CTRL_D}")
    answer_prompt("default", Answers(), read_line)
    captured = capsys.readouterr()
    assert tables(captured.out) == 0
    assert ":n COUNT" in captured.err
    assert "Nothing is found yet that a number could play" in captured.err
    assert "There is no :fly here. Type ? for what there is." in captured.err


def test_settings_hold_until_they_are_taken_back() -> None:
    answers = Answers()
    for line in (":n 20", ":in ~/Videos", ":since 2024-05", ":until 2024-05", ":score 0.5", ":pictures on"):
        answers = change_answers(answers, line)
    assert (answers.limit, answers.filters.folder, answers.filters.min_score) == (20, "~/Videos", 0.5)
    assert (str(answers.filters.since), str(answers.filters.until)) == ("2024-05-01", "2024-05-31")
    for line in (":n", ":in", ":since", ":until", ":score", ":pictures off"):
        answers = change_answers(answers, line)
    assert answers == Answers()


@pytest.mark.parametrize(
    "line", [":n 0", ":n many", ":since soon", ":score x", ":score 3", ":", ":nn 3", ":pictures 3"]
)
def test_a_setting_that_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(BadInput):
        change_answers(Answers(), line)
