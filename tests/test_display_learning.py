"""What a person reads of recall."""

from dataclasses import replace

import pytest
from test_display import drawn

from vidfind.display_learning import recall_table, training_lines
from vidfind.finetune import Stepped, Validated
from vidfind.recall import Recall, Retrieval

GOOD = Retrieval(Recall(90, 100, 100, 1, 1.25, 40), Recall(50, 60.04, 70, 1.5, 123.4, 40))
WORSE = replace(GOOD, text_to_video=Recall(25, 75, 100, 2, 3.5, 40))


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
    assert [bool(cell.style) for cell in after if cell] == [True, True, False, True, True, *[False] * 5, True]
    assert not any(cell.style for cell in before if cell)


def test_a_single_column_has_nothing_in_bold() -> None:
    assert not any(cell.style for cell in recall_table({"tempme": GOOD}).columns[1].cells if cell)


@pytest.mark.parametrize("width", [40, 80])
def test_the_recall_table_fits_the_terminal(width: int) -> None:
    lines = drawn(recall_table({"tempme": GOOD, "an-adapter-of-a-long-name": WORSE}), width)
    assert max(map(len, lines)) <= width
    assert any(line.endswith("380.0") for line in lines)


def test_a_training_shows_its_steps_loss_recall_and_time_left_below_a_bar() -> None:
    recall = Recall(25.0, 50.0, 75.0, 6.0, 9.0, 4)
    judged = [
        Validated(0, 5.0, Retrieval(recall, recall), False),
        Validated(20, 1.0, Retrieval(replace(recall, r1=75.0), recall), True),
    ]
    bar, facts = drawn(training_lines(Stepped(24, 100, 0.7512, 83.0), judged, 100), 100)
    assert set(bar.strip()) <= set("━╸╺ ")
    assert facts.strip() == "step 24 of 100  loss 0.751  held-out R@1 25 → 75 %  1:23 left"
