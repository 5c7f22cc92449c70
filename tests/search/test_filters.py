"""Filters that make no sense are refused, and dates are read from text."""

from datetime import date

import pytest

from vidfind.errors import BadInput
from vidfind.search.filters import Filters, parse_period


def test_filters_that_nothing_can_match_are_refused() -> None:
    with pytest.raises(BadInput, match="is later than the last day"):
        Filters(since=date(2024, 5, 2), until=date(2024, 5, 1))
    with pytest.raises(BadInput, match="must be at least 1"):
        Filters(per_video=0)
    assert Filters(since=date(2024, 5, 1), until=date(2024, 5, 1)).until == date(2024, 5, 1)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2024-05-17", date(2024, 5, 17), date(2024, 5, 17)),
    ],
)
def test_a_period_has_a_first_and_a_last_day(text: str, first: date, last: date) -> None:
    assert parse_period(text) == (first, last)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13", "2024-02-30", "24-05-17", "2024-05-17-01"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a date"):
        parse_period(text)
