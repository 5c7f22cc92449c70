"""How well results fit, and which look alike, in the table of a search."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.support.drawn import drawn
from vidfind.display.search import moment_json, result_table
from vidfind.search.moments import LookAlike, Moment

DAY = datetime(2024, 5, 17, 12, 30, tzinfo=UTC)


def moment(rank: int, match: int | None, *alike: str) -> Moment:
    others = tuple(LookAlike(Path(path), 1.23456, 2.0) for path in alike)
    path = Path(f"/v/{rank}.mp4")
    return Moment(rank, 0.5, path, 0.0, 10.0, 20.0, DAY, copies=(Path("/v/copy.mp4"),), match=match, alike=others)


def test_the_match_is_shown_where_it_is_known_of_all() -> None:
    lines = drawn(result_table([moment(1, 98, "/v/7.mp4", "/v/8.mp4"), moment(2, 3)], 80), 80)
    assert lines[0].split() == ["#", "Match", "File", "Moment", "Length", "Date"]
    assert "98 %" in lines[2] and "+1 copy +2 alike" in lines[2] and "3 %" in lines[3] and "alike" not in lines[3]
    lines = drawn(result_table([moment(1, 98), moment(2, None)], 80), 80)
    assert "Score" in lines[0] and "0.500" in lines[2]


def test_what_fits_badly_is_dim() -> None:
    table = result_table([moment(1, 30), moment(2, 29), moment(3, None)], 80)
    assert [row.style for row in table.rows] == [None, "dim", None]


def test_look_alikes_are_objects_with_rounded_times() -> None:
    values = moment_json(moment(1, 98, "/v/7.mp4"))
    assert values["alike"] == [{"path": Path("/v/7.mp4"), "start": 1.235, "end": 2.0}] and values["match"] == 98
