"""What is shown of how well results match."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.described import SHOWN, describe
from tests.support.ran import Run
from vidfind.encoders.encoder import Encoder

NOTHING = "Nothing here fits well. The nearest:"
ABSENT = "a yellow triangle shrinking"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Encoder) -> Path:
    """A home whose index is that of `describe`."""
    home = tmp_path_factory.mktemp("match-home")
    describe(home / "indexes" / "default", tiny_encoder)
    return home


@pytest.fixture
def at_home(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The program at that home."""
    monkeypatch.setenv("VIDFIND_HOME", str(home))
    return run


def test_the_match_takes_the_place_of_the_score(at_home: Run) -> None:
    ran = at_home("search", "a red star growing", "-n", "3")
    heading, first, *_ = ran.out.splitlines()
    assert heading.split("\t")[:3] == ["#", "Match", "File"] and first.split("\t")[1].endswith(" %")
    assert NOTHING not in ran.err
    [answer] = [
        json.loads(line) for line in at_home("search", "a red star growing", "-n", "1", "--json").out.splitlines()
    ]
    assert answer["match"] == int(first.split("\t")[1].removesuffix(" %")) and answer["alike"] == []


FIELDS: dict[str, object] = {
    "rank": int,
    "score": float,
    "path": str,
    "start": float,
    "end": float,
    "duration": float,
    "created": str,
    "online": bool,
    "damage": str,
    "created_from": str,
    "copies": list,
    "match": int,
    "alike": list,
    "tags": list,
    "tags_auto": list,
}
"""The fields of each answer in JSON, and the types of their values."""
STEP_FIELDS = {"start": float, "end": float, "score": float, "match": int}
EXAMPLE = "/home/red circle moving left.mp4@5"


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("a red star", {}),
        ("a red star --not a circle", {}),
        ("a red star growing --then a blue circle --within 30s", {"steps": list}),
        (f'--like "{EXAMPLE}"', {"match": type(None)}),
        (f'a star --like "{EXAMPLE}" --not red', {"match": type(None)}),
        ("a red star --collapse", {}),
    ],
)
def test_json_has_the_same_fields_in_each_form(
    line: str, changed: dict[str, object], at_home: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{line}\n"))
    ran = at_home("search", "--json")
    answers = [json.loads(one) for one in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "") and len(answers) == 10
    for answer in answers:
        assert answer.pop("query") == line
        assert {name: type(value) for name, value in answer.items()} == FIELDS | changed
        for step in answer.get("steps", []):
            assert {name: type(value) for name, value in step.items()} == STEP_FIELDS
    arguments = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
    others = [json.loads(one) for one in at_home("search", *arguments, "--json").out.splitlines()]
    words = line.partition("--")[0].strip()
    assert {other.pop("query", "") for other in others} == {words}
    assert others == answers


def test_what_fits_badly_is_shown_with_a_remark(at_home: Run) -> None:
    for form in ([], ["--paths"]):
        ran = at_home("search", ABSENT, *form)
        assert ran.code == 0 and len(ran.out.splitlines()) >= 10 and NOTHING in ran.err
    assert NOTHING not in at_home("search", ABSENT, "--json").err


def test_only_an_index_of_some_segments_has_a_match(at_home: Run) -> None:
    ran = at_home("search", "--like", EXAMPLE)
    assert ran.out.split("\t")[1] == "Score" and NOTHING not in ran.err
    answers = [json.loads(line) for line in at_home("search", "--like", EXAMPLE, "--json").out.splitlines()]
    assert {answer["match"] for answer in answers} == {None}


@pytest.mark.parametrize("percent", ["90", "90%", "90 %"])
def test_a_least_match_leaves_out_what_fits_less(at_home: Run, percent: str) -> None:
    answers = at_home("search", "a red star growing", "--json", "--min-match", percent).out.splitlines()
    assert answers and all(json.loads(answer)["match"] >= 90 for answer in answers)


def test_where_nothing_matches_the_best_is_told(at_home: Run) -> None:
    best = json.loads(at_home("search", ABSENT, "--json", "-n", "1").out)["match"]
    for form in ([], ["--json"], ["--in", "/home"]):
        ran = at_home("search", ABSENT, "--min-match", "99", *form)
        assert (ran.code, ran.out) == (0, "")
    assert f"Nothing matches by 99 %: the best is {best} %." in at_home("search", ABSENT, "--min-match", "99").err


def test_a_least_match_that_makes_no_sense_is_refused(at_home: Run) -> None:
    for arguments, reason in (
        (["a star", "--min-match", "much"], "'much' is not a percentage: write 50."),
        (["a star", "--min-match", "101"], "between 0 and 100"),
        (["--like", EXAMPLE, "--min-match", "50"], "--min-match judges words: give some"),
        (["a star", "--like", EXAMPLE, "--min-match", "50"], "--min-match judges words"),
    ):
        ran = at_home("search", *arguments)
        assert (ran.code, ran.out) == (2, "") and reason in " ".join(ran.err.split()), arguments


def test_each_line_has_a_least_match_of_its_own(at_home: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"a red star growing --min-match 80\n{ABSENT} --min-match 80 --collapse\n{ABSENT}\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    ran = at_home("search", "--json")
    answers = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 0
    assert [answers.count(one) for one in answers] == [1] * len(answers)
    queries = [answer["query"] for answer in answers]
    assert queries.count(ABSENT) == 10 and lines.splitlines()[1] not in queries
    assert all(answer["match"] >= 80 for answer in answers if answer["query"] != ABSENT)


def test_descriptions_of_what_is_there_and_what_is_not_are_tried(at_home: Run, tmp_path: Path) -> None:
    present, absent = tmp_path / "present.txt", tmp_path / "absent.txt"
    present.write_text("\n".join([*SHOWN[:5], "", SHOWN[0], "star"]), encoding="utf-8-sig")
    absent.write_text(f"{ABSENT}\na green triangle\n")
    ran = at_home("eval", "--match", present, absent)
    rows = {line.split("\t")[0].strip(): line.split("\t")[1:] for line in ran.out.splitlines() if "\t" in line}
    assert rows["of what is there"][0] == "6" and rows["of what is not"][0] == "2"
    assert (rows["of what is there"][3], rows["of what is not"][3]) == ("at least 90 %", "at most 20 %")
    assert rows["1 word"][0] == "1" and "of all pairs." in ran.out
    ran = at_home("eval", "--match", present, absent, "--json")
    tried = [json.loads(line) for line in ran.out.splitlines()]
    assert [one["is_present"] for one in tried] == [True] * 6 + [False] * 2
    assert min(one["match"] for one in tried[:5]) >= 30 > tried[6]["match"]


def test_descriptions_that_cannot_be_tried_are_named(at_home: Run, tmp_path: Path) -> None:
    empty, binary, good = (tmp_path / name for name in ("empty.txt", "binary.txt", "good.txt"))
    empty.write_text("\n  \n")
    binary.write_bytes(b"\xff\xfe\x00")
    good.write_text("a star\n")
    for files, reason in (
        ((tmp_path / "none.txt", good), "none.txt cannot be read: No such file"),
        ((tmp_path, good), "cannot be read"),
        ((good, binary), "binary.txt cannot be read: it is not text in UTF-8"),
        ((empty, good), "empty.txt is empty"),
        ((good, good), "'a star' is in both files"),
    ):
        ran = at_home("eval", "--match", *files)
        assert (ran.code, ran.out) == (1, "") and reason in ran.err
    for wrong in ([], ["--pairs", good, "--match", good, empty]):
        ran = at_home("eval", *wrong)
        assert ran.code == 2 and "Give either --pairs FILE, or --match FILE FILE." in ran.err
