"""What follows from the outcome of a video, and how a run counts: decided by fields, not by sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vidfind.index.events import IndexSummary, Offline, Outcome, Switched, Vanished, Waiting

VIDEO, OTHER = Path("/films/a.mp4"), Path("/films/b.mp4")
OUTCOMES = {
    "new": Outcome(VIDEO, "new", segments=1, seconds=5.0),
    "copy": Outcome(VIDEO, "new", segments=1, seconds=5.0, message=f"the same as {OTHER}", same_as=OTHER),
    "moved": Outcome(VIDEO, "moved", segments=1, seconds=5.0, message=f"from {OTHER}"),
    "damaged": Outcome(VIDEO, "changed", segments=1, seconds=5.0, damage="ends early: 5 s of 9 s is there"),
    "failed": Outcome(VIDEO, "failed", message="is not a video"),
    "failed copy": Outcome(VIDEO, "failed", message=f"the same as {OTHER}: is not a video", same_as=OTHER),
    "failed before": Outcome(VIDEO, "failed", message="is not a video", was_tried_before=True),
}


def summary_of(*events: Outcome | Offline | Vanished | Switched | Waiting) -> IndexSummary:
    summary = IndexSummary()
    for event in events:
        summary.add(event)
    return summary


@pytest.mark.parametrize(
    ("name", "is_copy", "is_news"),
    [
        ("new", False, True),
        ("copy", True, True),
        ("moved", False, True),
        ("failed copy", False, True),
        ("failed before", False, False),
    ],
)
@pytest.mark.parametrize("message", [None, "", "the same as another (not tried again: it has not changed since)"])
def test_no_sentence_decides(name: str, is_copy: bool, is_news: bool, message: str | None) -> None:
    outcome = OUTCOMES[name] if message is None else replace(OUTCOMES[name], message=message)
    assert (outcome.is_copy, outcome.is_news) == (is_copy, is_news)


def test_a_summary_counts_what_was_encoded_and_what_needs_attention() -> None:
    summary = summary_of(*OUTCOMES.values())
    assert summary.counts == {"new": 2, "moved": 1, "changed": 1, "failed": 3}
    assert (summary.copies, summary.footage) == (1, 10.0)
    assert summary.damaged == [OUTCOMES["damaged"]]
    assert summary.failed == [outcome for name, outcome in OUTCOMES.items() if name.startswith("failed")]


def test_what_is_missed_are_failures_and_videos_that_went_away_or_are_waited_for() -> None:
    away = Offline(Path("/usb"), 5)
    assert summary_of(OUTCOMES["new"], away, Switched("home")).missed == 0
    waiting = Waiting("home", [away, Offline(Path("/nas"), 2)], "vidfind index --adapter home")
    assert summary_of(OUTCOMES["failed"], Vanished(Path("/usb"), 3), waiting).missed == 1 + 3 + 7


def test_a_failure_that_was_known_is_not_missed_again() -> None:
    again = Outcome(Path("/films/old.mp4"), "failed", message="is not a video", was_tried_before=True)
    assert summary_of(again).missed == 0
    assert summary_of(again, OUTCOMES["failed"]).missed == 1
