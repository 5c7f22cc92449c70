"""Filters that make no sense are refused."""

from datetime import date

import pytest

from vidfind.errors import BadInput
from vidfind.search.filters import Filters


def test_filters_that_nothing_can_match_are_refused() -> None:
    with pytest.raises(BadInput, match="is later than the last day"):
        Filters(since=date(2024, 5, 2), until=date(2024, 5, 1))
    with pytest.raises(BadInput, match="must be at least 1"):
        Filters(per_video=0)
    assert Filters(since=date(2024, 5, 1), until=date(2024, 5, 1)).until == date(2024, 5, 1)
