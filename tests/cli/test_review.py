"""`vidfind tag review`, in a pipe and at a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input

from tests.support.ran import Run
from tests.support.stored import on_disk
from tests.support.tagged import Library, make_library
from vidfind.display.labels.review import review_at_terminal
from vidfind.errors import BadInput
from vidfind.store.labelled.marks import Mark
from vidfind.system.storage import lock
from vidfind.tagging.review import Review

CTRL_C = "\x03"


@pytest.fixture
def library(tmp_path: Path, run: Run) -> Library:
    """Of eleven videos each is asked about dog, the first one surest, and the last also about cat."""
    library = make_library(tmp_path, run, *(f"{number:02}.mp4" for number in range(11)))
    contents = [row.content for row in library.rows.values()]
    marks = [Mark(content, 10.0, 20.0, suggested={"dog": 0.9 - n / 20}) for n, content in enumerate(contents)]
    marks += [
        Mark(contents[0], 0.0, 10.0, suggested={"dog": 0.1}),
        Mark(contents[10], 0.0, 10.0, suggested={"cat": 0.3}),
    ]
    with library.store.writing() as writer:
        writer.replace_marks("tag", "run", ["dog", "cat"], marks)
    return library


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    """What is sent to it is typed."""
    with create_pipe_input() as typed, create_app_session(input=typed):
        yield typed


def review(library: Library, keyboard: PipeInput, keys: str, limit: int = 20) -> list[tuple[str, float]]:
    """Types keys at a review; returns what was played."""
    played: list[tuple[str, float]] = []
    paths = {row.fingerprint: row.path for row in library.rows.values()}
    keyboard.send_text(keys)
    review_at_terminal(
        Review(library.store, None, limit),
        lambda one: paths[one.video],
        lambda path, at: played.append((path.name, at)),
    )
    return played


def test_a_pipe_gets_the_suggestions_the_most_useful_first(library: Library, run: Run) -> None:
    lines = [json.loads(line) for line in run("tag", "review", "--json", "-n", "3").out.splitlines()]
    assert [(Path(line["path"]).name, line["tag"], line["confidence"]) for line in lines] == [
        ("00.mp4", "dog", 0.9),
        ("10.mp4", "cat", 0.3),
        ("01.mp4", "dog", 0.85),
    ]
    assert (lines[0]["start"], lines[0]["end"]) == (10.0, 20.0)
    ran = run("tag", "review", "--tag", "CAT")
    assert ran.out.splitlines()[1].split("\t")[1:] == ["0:00-0:10", "cat", "0.30"]
    run("tag", "reject", lines[1]["path"], "cat")
    ran = run("tag", "review", "--tag", "cat")
    assert (ran.code, ran.out, ran.err) == (0, "", "There is nothing to decide about cat.\n")
    ran = run("tag", "review", "--tag", "cow")
    assert (ran.code, "There is no tag 'cow'." in ran.err) == (2, True)


def test_keys_decide_skip_play_and_quit(
    library: Library, run: Run, keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    assert review(library, keyboard, "ypnsyq") == [("10.mp4", 0.0)]
    assert library.said() == ["00.mp4 dog", "02.mp4 dog", "10.mp4 -cat"]
    review(library, keyboard, "yq")
    assert library.said()[1] == "01.mp4 dog"  # which was skipped
    capsys.readouterr()
    review(library, keyboard, CTRL_C)
    assert capsys.readouterr().err.splitlines()[-1] == "Decided 0: 0 yes, 0 no. 8 suggestions left."


def test_decisions_are_taken_back_one_by_one(library: Library, run: Run, keyboard: PipeInput) -> None:
    run("tag", "add", library.rows["01.mp4"].path, "dog", "--from", "1", "--to", "2")
    before = library.said()
    review(library, keyboard, "uyyuuuq")
    assert library.said() == before
    review(library, keyboard, "ynuyq")
    assert library.said() == ["00.mp4 dog", "01.mp4 dog 1-2", "10.mp4 cat"]


def test_a_review_ends_when_so_many_are_decided(library: Library, keyboard: PipeInput) -> None:
    review(library, keyboard, "ysyy", limit=3)
    assert len(library.said()) == 2


def test_the_order_is_made_anew_after_ten_decisions(library: Library, run: Run) -> None:
    reviewed = Review(library.store, None, 20)
    for _ in range(9):
        reviewed.decide(True)
    run("tag", "reject", library.rows["09.mp4"].path, "dog")  # by another program meanwhile
    assert [library.store.videos_of([one.content])[0].path.stem for one in reviewed.upcoming()] == ["08", "09", "10"]
    reviewed.decide(False)
    assert [library.store.videos_of([one.content])[0].path.stem for one in reviewed.upcoming()] == ["10"]


def test_the_question_stays_while_another_program_writes_or_nothing_can_play(
    library: Library, keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    def cannot_play(path: Path, at: float) -> None:
        raise BadInput("There is no player.")

    keyboard.send_text("pyuq")
    with open(on_disk(library.store) / "writing.lock", "ab") as file:
        lock(file.fileno())
        review_at_terminal(Review(library.store, "dog", 20), lambda one: Path(one.video), cannot_play)
    said = capsys.readouterr().err
    assert said.count("dog?") == 1
    assert "There is no player." in said
    assert "Another vidfind is writing" in said
    assert library.said() == []
