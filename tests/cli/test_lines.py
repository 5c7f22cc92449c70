"""One grammar for the command line, the lines of a pipe and the prompt."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ran import Run
from vidfind.cli import search
from vidfind.cli.search import QueryCommand, read_line, search_command
from vidfind.cli.shared.prompt import Answers
from vidfind.errors import BadInput
from vidfind.search.moments import Moment
from vidfind.search.question.expression import Example, Expression, join_texts, line_tokens
from vidfind.search.question.filters import Filters


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("dog on a beach", Expression("dog on a beach")),
        ("  dog   on a\tbeach ", Expression("dog on a beach")),
        ("dog on a beach --not people", Expression("dog on a beach", ["people"])),
        ("dog --not a red car --not people", Expression("dog", ["a red car", "people"])),
        ("--not a red car --in . dog", Expression("dog", ["a red car"])),
        ("dog --not=people --then=a cat", Expression("dog", ["people"], ["a cat"])),
        ("a --then b --then c --within 30s", Expression("a", then=["b", "c"], within=30)),
        ("a --then b --within 0", Expression("a", then=["b"], within=0)),
        ("a --then b --within=1:30", Expression("a", then=["b"], within=90)),
        ("a --then b --within 1.5h", Expression("a", then=["b"], within=5400)),
        ("grandma's 6\" cake --then candles blown out", Expression("grandma's 6\" cake", then=["candles blown out"])),
        ("t-shirt - red, -5 degrees -n -v", Expression("t-shirt - red, -5 degrees -n -v")),
        ("2:30 in the morning + a!b ^2", Expression("2:30 in the morning + a!b ^2")),
        ("-- --not a drill", Expression("--not a drill")),
        ('"--not" a drill', Expression("--not a drill")),
        ('the "red car" and "', Expression('the red car and "')),
        ("Holiday -- the beach --json", Expression("Holiday the beach --json")),
        ("a --not b -- c --then d", Expression("a c --then d", ["b"])),
        ("a --not -5 degrees - or so", Expression("a", ["-5 degrees - or so"])),
        ('a --not "--very odd" b', Expression("a", ["--very odd b"])),
        ('--like "/my films/a.mp4@1:23" at night', Expression("at night", like=[Example(Path("/my films/a.mp4"), 83)])),
        ("--like a.jpg --like=b.jpg --unlike c.jpg", Expression(like=["a.jpg", "b.jpg"], unlike=["c.jpg"])),
        ("--like 3 --not people", Expression(without=["people"], like=["3"])),
        ("a --5 --- b", Expression("a --5 --- b")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_line_says_what_to_look_for(line: str, expression: Expression) -> None:
    assert read_line(line, Answers())[0] == expression


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--not people", "Say first what to look for, and then what not, or what comes next: dog on a beach --not"),
        ("--then a car", "Say first what to look for"),
        ("--unlike a.jpg", "Say first what to look for"),
        ("dog --not", "--not needs words behind it."),
        ("dog --not --then cat", "--not needs words behind it."),
        ("dog --then=", "--then needs words behind it."),
        ("dog --like", "--like needs a file behind it."),
        ("dog --unlike --in x", "--unlike needs a file behind it."),
        ("dog --in", "--in needs a value behind it."),
        ("dog --between 22:00", "--between needs a value behind it."),
        ("dog --limit x", "--limit takes a whole number, not 'x'."),
        ("dog --limit 0", "--limit must be 1 or more, not '0'."),
        ("dog --online=3", "--online takes no value."),
        ("dog --no people", "There is no option --no. To look for these very words, put -- before them."),
        ("dog --without people", "There is no option --without. Did you mean --not?"),
        ("dog --witin 3", "There is no option --witin. Did you mean --within? To look for these very words"),
        ("--within 30s dog", "--within says how soon after one another: it needs --then."),
        ("dog --within soon", "'soon' is not a time: write 30s, 45, 1:30 or 2m."),
        ("dog --then cat --within -5", "'-5' is not a time"),
        ("dog --then cat --within s", "'s' is not a time"),
        ("dog --like a.mp4@noon", "'noon' is not a time: write 83, 1:23 or 1:02:03 after the @."),
        ("dog --json", "--json is for the command line, not for a query."),
        ("dog --open 2", "--open is for the command line, not for a query."),
        ("dog --help", "--help is for the command line, not for a query."),
        ("dog --index=other", "--index is for the command line, not for a query."),
        ("dog --not Dog", "'dog' is both looked for and left out."),
        ("dog --since never", "never"),
        ("dog --since 2024 --until 2023", "is later than"),
        ("--in .", "The query is empty."),
    ],
)
def test_a_line_that_makes_no_sense_says_why(line: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_line(line, Answers())
    assert message in str(caught.value)


@given(st.text())
def test_a_line_without_options_is_looked_for_as_it_is(line: str) -> None:
    tokens = join_texts(line_tokens(line.replace(" --", " -").removeprefix("--")))
    assert not any(token.is_option for token in tokens)
    words = " ".join(line.replace(" --", " -").removeprefix("--").split())
    assert " ".join(token.text for token in tokens).replace('"', "") == words.replace('"', "")


def test_a_line_overrides_the_options_of_the_start() -> None:
    start = Answers(Filters(folder=("a",), per_video=3, online=True), 5, "json", True)
    _, answers = read_line("dog --in b --since 2024-05 --limit 7", start)
    assert answers == Answers(Filters(("b",), date(2024, 5, 1), per_video=3, online=True), 7, "json", True)
    assert read_line("dog", start)[1] == start


@pytest.mark.parametrize(
    "words",
    [
        ["dog", "on", "a", "beach"],
        ["dog on a beach", "--not", "a", "red", "car", "--online", "--not=people"],
        ["--not", "red cars", "--limit", "3", "dog", "--then", "a", "cat", "--within", "2m"],
        ["dog", "--not", "-5", "degrees", "-", "so"],
        ["--like", "a.jpg@0:03", "at night", "--unlike", "b.jpg", "--between", "22:00", "5:00"],
        ["dog", "--in", "a", "--in", "b", "--exclude", "c", "--since", "2024", "--", "--not", "-n"],
    ],
    ids=" ".join,
)
def test_the_command_line_and_a_typed_line_mean_the_same(words: list[str]) -> None:
    program = typer.Typer(add_completion=False)
    program.command(cls=QueryCommand)(search_command)
    command: Any = typer.main.get_command(program)
    typed = search._given(command.make_context("search", list(words)))
    line = " ".join(f'"{word}"' if " " in word else word for word in words)
    assert read_line(line, Answers()) == (search._expression(typed), search._answers(typed, Answers()))


SHOWN = [Moment(n, 0.5, Path(f"/v/{n}.mp4"), 0, 30, 30, None, best=15.0) for n in (1, 2, 3)]  # type: ignore[arg-type]


def test_a_number_is_a_result_where_results_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expression, _ = read_line("at night --like 3 --unlike 2 --like 2024", Answers(), SHOWN)
    assert expression is not None
    assert expression.likes == [Example(Path("/v/3.mp4"), 15), Example(Path("2024"))]
    assert expression.unlikes == [Example(Path("/v/2.mp4"), 15)]
    for rank in (7, 0):
        with pytest.raises(BadInput, match=rf"There is no result {rank}: 3 moments found\."):
            read_line(f"--like {rank}", Answers(), SHOWN)
    assert read_line("--like 3", Answers())[0] == Expression(like=["3"])


# The whole program


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--not", "people"], "Say first what to look for, and then what not, or what comes next: dog on a beach"),
        (["dog", "--not"], "--not needs words behind it."),
        (["dog", "--no", "people"], "There is no option --no. To look for these very words, put -- before them.\n"),
        (["dog", "-people"], "No such option: -p. To leave something out: --not people\n"),
        (["dog", "-vqpeople"], "No such option: -p. To leave something out: --not vqpeople\n"),
        (["--within", "30s", "dog"], "--within says how soon after one another: it needs --then."),
        (["dog", "--then", "a", "cat", "--within", "soon"], "'soon' is not a time: write 30s, 45, 1:30 or 2m."),
        (["dog", "--not", "dog"], "'dog' is both looked for and left out."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_query_is_wrong_usage(words: list[str], message: str, run: Run) -> None:
    ran = run("search", *words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"Error: {message}")


def test_the_usage_of_a_command_shows_its_arguments_without_braces(run: Run) -> None:
    assert run("tag", "add", "--help").out.splitlines()[0] == "Usage: vidfind tag add [OPTIONS] VIDEO TAG..."
