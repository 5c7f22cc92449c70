"""Filters that make no sense are refused."""

from datetime import date, time
from typing import Any

import pytest

from vidfind.errors import BadInput
from vidfind.search.question.filters import Filters


def test_filters_that_nothing_can_match_are_refused() -> None:
    with pytest.raises(BadInput, match="is later than the last day"):
        Filters(since=date(2024, 5, 2), until=date(2024, 5, 1))
    with pytest.raises(BadInput, match="must be at least 1"):
        Filters(per_video=0)
    assert Filters(since=date(2024, 5, 1), until=date(2024, 5, 1)).until == date(2024, 5, 1)


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ({"min_score": 5}, "out of range: scores lie between -1 and 1"),
        ({"min_score": float("nan")}, "out of range"),
        ({"folder": ""}, "name of a folder is empty"),
        ({"folder": ["/v", ""]}, "name of a folder is empty"),
        ({"exclude": [""]}, "name of a folder is empty"),
        ({"between": (time(5), time(5))}, "lies nothing"),
    ],
)
def test_filters_that_make_no_sense_are_refused(filters: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        Filters(**filters)
