"""Shows the moments that a search found, as a table."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from vidfind.display.console import PIPE_WIDTH, results, show
from vidfind.display.text import short_paths, span
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.search.moments import Moment

NARROWEST_FILE = 24  # cells; a result table drops its date, then its length, rather than show less of the file
COLUMN_GAP = 3  # cells between two columns of a table


# Search


def show_moments(moments: Sequence["Moment"]) -> None:
    """The result table."""
    show(result_table(moments, results.width if results.is_terminal else PIPE_WIDTH))


def result_table(moments: Sequence["Moment"], width: int) -> Table:
    """Rank, score, file with what is wrong with it, moment, length and date: what fits into `width` cells."""
    columns = {
        "#": [str(moment.rank) for moment in moments],
        "Score": [f"{moment.score:z.3f}" for moment in moments],
        "Moment": [span(moment.start, moment.end) for moment in moments],
        "Length": [clock(max(1, round(moment.duration))) for moment in moments],
        "Date": [f"{moment.created:%Y-%m-%d}" if moment.created else "" for moment in moments],
    }
    for optional in ("Date", "Length", None):
        left = width - sum(max(map(len, [name, *texts])) + COLUMN_GAP for name, texts in columns.items())
        if left >= NARROWEST_FILE or optional is None:
            break
        del columns[optional]
    marks = {moment.path: _mark(moment) for moment in moments}
    files = short_paths(marks, left, {path: mark.cell_len for path, mark in marks.items()})
    styles = {"#": "bold", "Score": "cyan", "Moment": "green", "Length": "", "Date": "dim"}
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name == "Date" else "right", style=styles[name], no_wrap=True)
        if name == "Score":
            table.add_column("File", overflow="fold")
    for moment, (rank, score, *rest) in zip(moments, zip(*columns.values(), strict=True), strict=True):
        table.add_row(rank, score, Text.assemble(_linked(files[moment.path], moment.path), marks[moment.path]), *rest)
    return table


def _mark(moment: "Moment") -> Text:
    """What there is to know of a video before it is opened; mostly nothing."""
    marks = [("" if moment.online else " offline", "dim"), (" incomplete" if moment.damage else "", "yellow")]
    return Text.assemble(*marks)


def _linked(text: str, path: Path) -> Text:
    """Text that opens the file with a click, in terminals that can."""
    name = len(text) - text.rfind(os.sep) - 1
    shown = Text(text, style=f"link {path.as_uri()}" if path.is_absolute() else "")
    shown.stylize("dim", 0, len(text) - name)
    return shown
