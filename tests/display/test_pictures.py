"""Pictures of moments in a terminal: in rows, with what is known of each below."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from textual_image.renderable import HalfcellImage, SixelImage, UnicodeImage

from tests.support.corners import COLOURS, draw_corners
from vidfind.display import pictures
from vidfind.display.pictures import picture_rows, why_no_pictures
from vidfind.pictures.thumbnail import to_jpeg
from vidfind.search.moments import Moment

pytestmark = pytest.mark.filterwarnings("ignore:Image.Image.getdata:DeprecationWarning")  # of textual-image

WIDE, TALL = to_jpeg(draw_corners(320, 180)), to_jpeg(draw_corners(180, 320))


def moment(rank: int, name: str = "", **fields: Any) -> Moment:
    path = Path(f"/films/{name or f'{rank}.mp4'}")
    return Moment(rank, 0.3, path, 83.0, 93.0, 120.0, datetime(2024, 5, 1, tzinfo=UTC), match=90 - rank, **fields)


def drawn(moments: list[Moment], shown: list[bytes | str], width: int, draw: Any = HalfcellImage) -> str:
    file = io.StringIO()
    screen = Console(file=file, width=width, force_terminal=True, color_system="truecolor", legacy_windows=False)
    for row in picture_rows(moments, shown, width, draw):
        screen.print(row)
    return file.getvalue()


def plain(moments: list[Moment], shown: list[bytes | str], width: int) -> list[str]:
    """The lines without colours and links."""
    file = io.StringIO()
    screen = Console(file=file, width=width, color_system=None)
    for row in picture_rows(moments, shown, width, HalfcellImage):
        screen.print(row)
    return file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "count"), [(300, 11), (80, 3), (49, 1), (24, 1), (7, 1)])
def test_as_many_pictures_as_fit_stand_in_a_row(width: int, count: int) -> None:
    lines = plain([moment(rank) for rank in range(1, 13)], [WIDE, TALL] * 6, width)
    assert max(map(cell_len, lines)) <= width
    if width >= 24:
        ranks = [[word for word in line.split() if word.isdecimal()] for line in lines if "1:23-1:33" in line]
        numbers = [str(rank) for rank in range(1, 13)]
        firsts = [[one for one in row if int(one) <= 12] for row in ranks]
        assert firsts == [numbers[start : start + count] for start in range(0, 12, count)]


def test_below_a_picture_stand_rank_match_moment_file_and_marks() -> None:
    found = [moment(1), moment(2, "a\x1b[31m.mp4", online=False, copies=(Path("/films/copy.mp4"),))]
    lines = plain(found, [WIDE, "is offline"], 80)
    assert "is offline" in lines[0] and "▀" * 25 in lines[0]
    below = "\n".join(line.rstrip() for line in lines[7:])
    assert below.split("\n")[:3] == [
        "1  89 %  1:23-1:33         2  88 %  1:23-1:33",
        "/films/1.mp4               …/a\\x1b[31m.mp4"
        if "…" in below
        else "/films/1.mp4               /films/a\\x1b[31m.mp4",
        "                           offline +1 copy",
    ]


def test_a_long_name_is_folded_and_no_row_gets_wider() -> None:
    lines = plain([moment(1, "long " * 20 + ".mp4"), moment(2)], [TALL, TALL], 60)
    assert max(map(cell_len, lines)) <= 60 and ".mp4" in "".join(lines)


def test_half_blocks_have_the_colours_of_the_picture() -> None:
    first = drawn([moment(1)], [WIDE], 80).splitlines()[0]
    red, green, *_ = COLOURS.values()
    seen = [tuple(map(int, part.split(";")[2:5])) for part in first.split("\x1b[")[1:] if part.startswith("38;2;")]
    assert max(abs(a - b) for a, b in zip(seen[0], red, strict=True)) < 30
    assert max(abs(a - b) for a, b in zip(seen[-1], green, strict=True)) < 30


def test_pixels_stand_side_by_side_in_a_row() -> None:
    text = drawn([moment(1), moment(2)], [WIDE, TALL], 80, SixelImage)
    assert text.count("\x1bP") == text.count("\x1b7") == text.count("\x1b8") == 2
    assert text.index("1:23-1:33") > text.rindex("\x1b8")


@pytest.mark.parametrize(
    ("console", "reason"),
    [
        ({"force_terminal": False}, "only in a terminal"),
        ({"color_system": "truecolor"}, ""),
        ({"color_system": "256"}, ""),
        ({"color_system": "standard"}, "too few colours"),
        ({"color_system": None}, "too few colours"),
        ({"color_system": "truecolor", "no_color": True}, "NO_COLOR"),
        ({"color_system": "truecolor", "_environ": {"TERM": "dumb"}}, "TERM is dumb"),
    ],
)
def test_a_terminal_without_pictures_says_why(
    console: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: console.get("force_terminal", True), raising=False)
    monkeypatch.setattr(pictures, "results", Console(file=file, **{"force_terminal": True, **console}))
    said = why_no_pictures()
    assert reason in said and bool(said) == bool(reason)


def test_in_a_test_the_terminal_was_not_asked() -> None:
    assert pictures._library().Image is UnicodeImage


@pytest.mark.parametrize("draw", [HalfcellImage, SixelImage], ids=["blocks", "Sixel"])
def test_one_picture_of_a_review_stays_in_its_box(draw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_library", lambda: type("Library", (), {"Image": draw}))
    file = io.StringIO()
    screen = Console(file=file, width=80, force_terminal=True, color_system="truecolor", legacy_windows=False)
    screen.print(pictures.picture_of(WIDE, 36))
    assert ("\x1bP" if draw is SixelImage else "\N{UPPER HALF BLOCK}") in file.getvalue()
    assert 9 <= file.getvalue().count("\n") <= 12
    screen.print(pictures.picture_of("is offline", 36))
    assert "is offline" in file.getvalue()
