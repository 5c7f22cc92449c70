"""Dates and times of day are read as people write them, and refused where they could mean two things."""

from __future__ import annotations

from datetime import date, time

import pytest

from vidfind.errors import BadInput
from vidfind.search.question.dates import parse_period, parse_time_of_day

FRIDAY = date(2024, 5, 17)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01", "2024-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2023/2", "2023-02-01", "2023-02-28"),
        ("02.2023", "2023-02-01", "2023-02-28"),
        ("Feb 2023", "2023-02-01", "2023-02-28"),
        ("2024-05-17", "2024-05-17", "2024-05-17"),
        ("2024/5/7", "2024-05-07", "2024-05-07"),
        ("20240507", "2024-05-07", "2024-05-07"),
        ("25.11.2026", "2026-11-25", "2026-11-25"),
        ("1. 2. 2024", "2024-02-01", "2024-02-01"),
        ("25/11/2026", "2026-11-25", "2026-11-25"),
        ("11-25-2026", "2026-11-25", "2026-11-25"),
        ("3/3/2024", "2024-03-03", "2024-03-03"),
        ("25 Nov 2026", "2026-11-25", "2026-11-25"),
        ("25-nov-2026", "2026-11-25", "2026-11-25"),
        ("November 25, 2026", "2026-11-25", "2026-11-25"),
        ("today", "2024-05-17", "2024-05-17"),
        (" Yesterday ", "2024-05-16", "2024-05-16"),
        ("0d", "2024-05-17", "2024-05-17"),
        ("7d", "2024-05-10", "2024-05-10"),
        ("10 days ago", "2024-05-07", "2024-05-07"),
        ("2w", "2024-05-03", "2024-05-03"),
        ("3months", "2024-02-17", "2024-02-17"),
        ("5 months", "2023-12-17", "2023-12-17"),
        ("1y", "2023-05-17", "2023-05-17"),
        ("this week", "2024-05-13", "2024-05-19"),
        ("last week", "2024-05-06", "2024-05-12"),
        ("last-month", "2024-04-01", "2024-04-30"),
        ("last year", "2023-01-01", "2023-12-31"),
        ("friday", "2024-05-17", "2024-05-17"),
        ("last friday", "2024-05-10", "2024-05-10"),
        ("sat", "2024-05-11", "2024-05-11"),
    ],
)
def test_a_date_has_a_first_and_a_last_day(text: str, first: str, last: str) -> None:
    assert parse_period(text, FRIDAY) == (date.fromisoformat(first), date.fromisoformat(last))


def test_months_ago_end_with_the_month_that_is_shorter() -> None:
    assert parse_period("1 month", date(2024, 3, 31)).first == date(2024, 2, 29)
    assert parse_period("1 year", date(2024, 2, 29)).first == date(2023, 2, 28)
    assert parse_period("last month", date(2024, 3, 31)) == (date(2024, 2, 1), date(2024, 2, 29))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a date"),
        ("soon", "is not a date"),
        ("2024-05-17-01", "is not a date"),
        ("2024-05/17", "is not a date"),
        ("-3d", "is not a date"),
        ("٢٠٢٤", "is not a date"),
        ("2024-13", "no day of the calendar"),
        ("2024-02-30", "no day of the calendar"),
        ("31.2.2024", "no day of the calendar"),
        ("13/13/2024", "no day of the calendar"),
        ("0000", "no day of the calendar"),
        ("99999999999d", "no day of the calendar"),
        ("9999 years ago", "no day of the calendar"),
        ("01/02/2024", "may be 2024-01-02 or 2024-02-01: write it"),
        ("24-05-17", "year of two digits: write all four"),
        ("25.11.26", "year of two digits: write all four"),
        ("3m", "may be minutes or months: for months, write 3months"),
        ("12h", "finer than a day.*--between 22:00 05:00"),
        ("2024-05-17T22:00", "finer than a day.*--between 22:00 05:00"),
        ("22:00", "finer than a day.*--between 22:00 05:00"),
    ],
)
def test_what_is_no_date_or_could_be_two_is_refused_with_a_remedy(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        parse_period(text, FRIDAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:00", time(22)),
        ("5:30", time(5, 30)),
        ("05:30:15", time(5, 30, 15)),
        ("22", time(22)),
        ("10pm", time(22)),
        ("10:30 PM", time(22, 30)),
        ("12am", time(0)),
        ("12pm", time(12)),
        ("24:00", time(0)),
    ],
)
def test_a_time_of_day_is_read(text: str, expected: time) -> None:
    assert parse_time_of_day(text) == expected


@pytest.mark.parametrize("text", ["", "25:00", "24:01", "22:60", "13pm", "0am", "noonish", "22.00.00", "٢", "-1"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a time of day"):
        parse_time_of_day(text)
