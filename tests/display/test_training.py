"""What a person reads of recall."""

from dataclasses import replace

import pytest
from rich.console import RenderableType
from rich.text import Text

from tests.support.drawn import drawn
from vidfind.display.training import recall_table, training_lines, word_found, word_line
from vidfind.encoders.costs import ClipCost
from vidfind.training.evaluate import WordFound
from vidfind.training.optimize import Stepped
from vidfind.training.recall import Recall, Retrieval, Validated, WordMarks

GOOD = Retrieval(Recall(90, 100, 100, 1, 1.25, 40), Recall(50, 60.04, 70, 1.5, 123.4, 40))
WORSE = replace(GOOD, text_to_video=Recall(25, 75, 100, 2, 3.5, 40))


def is_bold(cell: RenderableType) -> bool:
    return isinstance(cell, Text) and bool(cell.style)


def test_the_recall_table_has_a_column_for_each_name() -> None:
    lines = drawn(recall_table({"before": WORSE, "after": GOOD}), 80)
    assert [" ".join(line.split()) for line in lines if "─" not in line] == [
        "before after",
        "Text to video",
        *("R@1 25.0 90.0", "R@5 75.0 100.0", "R@10 100.0 100.0", "Median rank 2 1", "Mean rank 3.5 1.2"),
        "Video to text",
        *("R@1 50.0 50.0", "R@5 60.0 60.0", "R@10 70.0 70.0", "Median rank 1.5 1.5", "Mean rank 123.4 123.4"),
        "R-Sum 380.0 470.0",
    ]


def test_the_best_of_a_row_is_bold_unless_all_are_the_same() -> None:
    before, after = (column.cells for column in recall_table({"before": WORSE, "after": GOOD}).columns[1:])
    assert [is_bold(cell) for cell in after if cell] == [True, True, False, True, True, *[False] * 5, True]
    assert not any(is_bold(cell) for cell in before if cell)


def test_a_single_column_has_nothing_in_bold() -> None:
    assert not any(is_bold(cell) for cell in recall_table({"tempme": GOOD}).columns[1].cells if cell)


@pytest.mark.parametrize("width", [40, 80])
def test_the_recall_table_fits_the_terminal(width: int) -> None:
    lines = drawn(recall_table({"tempme": GOOD, "an-adapter-of-a-long-name": WORSE}), width)
    assert max(map(len, lines)) <= width
    assert any(line.endswith("380.0") for line in lines)


COSTS = {
    "mean": ClipCost(600, 105_811_476_480, 0.3337),
    "tempme": ClipCost(97, 69_449_110_784, 0.2413),
    "tiny": ClipCost(97, 535_058_256, 0.0063),
}


def test_what_a_clip_costs_stands_below_recall_and_the_least_is_bold() -> None:
    table = recall_table({"tempme": GOOD, "mean": GOOD}, COSTS)
    assert [" ".join(line.split()) for line in drawn(table, 80)][-4:] == [
        "A clip costs",
        *("Time, ms 241 334", "GFLOPs 69.4 105.8", "Tokens 97 600"),
    ]
    tempme, mean = (list(column.cells) for column in table.columns[1:])
    assert [is_bold(cell) for cell in tempme[-3:]] == [True] * 3
    assert not any(is_bold(cell) for cell in mean[-3:])


def test_small_figures_keep_two_digits() -> None:
    cells = [str(cell) for cell in list(recall_table({"tiny": GOOD}, COSTS).columns[1].cells)[-3:]]
    assert cells == ["6.3", "0.54", "97"]


def test_many_encoders_fit_80_columns_with_long_names_cut_at_their_hyphens() -> None:
    names = ["mean-home", "tome-home", "tempme-home", "tempme-fast-home", "centerclip-home", "centerclip-spectral-home"]
    cost = ClipCost(600, 1_105_811_476_480, 1.3337)
    lines = drawn(
        recall_table(dict.fromkeys([*names, "tfvl-home"], GOOD), dict.fromkeys([*names, "tfvl-home"], cost)), 80
    )
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines[:3]] == [
        ["tempme-", "centerclip-"],
        ["mean-", "tome-", "tempme-", "fast-", "centerclip-", "spectral-", "tfvl-"],
        ["home"] * 7,
    ]
    assert sum("1,105.8" in line for line in lines) == 1


def test_a_training_shows_its_steps_loss_recall_and_time_left_below_a_bar() -> None:
    recall = Recall(25.0, 50.0, 75.0, 6.0, 9.0, 4)
    judged = [
        Validated(0, 5.0, Retrieval(recall, recall), False),
        Validated(20, 1.0, Retrieval(replace(recall, r1=75.0), recall), True),
    ]
    bar, facts = drawn(training_lines(Stepped(24, 100, 0.7512, 83.0), judged, 100), 100)
    assert set(bar.strip()) <= set("━╸╺ ")
    assert facts.strip() == "step 24 of 100  loss 0.751  found first: 1 → 3 of 4  1:23 left"


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        (WordMarks(4, 0, 3, 1.0, 0.2), "Rex was learned: without the word, its captions place their videos lower."),
        (
            WordMarks(3, 1, 0, -0.5, 0.2),
            "Rex was not learned. It began as dog, and trained with 9 captions. More captions with it help",
        ),
        (WordMarks(1, 0, 1, 2.0, float("inf")), "Too few captions tell whether Rex was learned"),
        (WordMarks(3, 3, 3, -0.1, 0.2), "its captions find their videos without it too"),
        (None, "No caption with Rex was held out to judge it by"),
    ],
)
def test_a_learned_word_is_judged_in_plain_words(marks: WordMarks | None, says: str) -> None:
    line = word_line("Rex", {"noun": "dog", "captions": 9}, marks, has_noun=False)
    assert "Rex" in line and "It began as dog, and trained with 9 captions." in line and says in line


@pytest.mark.parametrize("has_noun", [True, False], ids=["given", "found"])
def test_a_noun_is_advised_where_none_was_given(has_noun: bool) -> None:
    marks = WordMarks(3, 1, 0, -0.5, 0.2)
    line = word_line("Rex", {"noun": "dog", "captions": 9}, marks, has_noun)
    assert ("--word Rex=NOUN" in line) is not has_noun and "More captions with it help most" in line


def test_captions_with_a_word_are_counted_for_each_encoder() -> None:
    assert word_found("Rex", WordFound(4, {"home": 3})) == (
        "Of 4 captions with Rex, 3 find theirs first. Of others, likely 30 to 95 % do."
    )
    both = word_found("Rex", WordFound(40, {"tempme": 3, "home": 30}))
    assert both == "Of 40 captions with Rex, 3 with tempme and 30 with home find theirs first."
