"""Shows the moments that a search found, as a table."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from vidfind.display.console import is_screen, new_table, results, show_list
from vidfind.display.text import plural, printable, short_paths, span
from vidfind.system.times import clock, local_time

if TYPE_CHECKING:
    from vidfind.search.moments import Moment

NARROWEST_FILE = 24  # cells; a result table drops the date, then the length, before the file gets narrower than this
COLUMN_GAP = 3  # cells between two columns of a table
HOW_WELL = ("Match", "Score")  # a table has one of them
STYLES = {
    "#": "bold",
    "Match": "cyan",
    "Score": "cyan",
    "Moment": "green",
    "Length": "",
    "Date": "dim",
    "Tags": "magenta",
}
TAGS_WIDTH = 24  # cells; on a screen, more tags are cut
AUTOMATIC = "~"
"""Stands before a tag that was added automatically."""


def show_moments(moments: Sequence["Moment"], query: str | None = None) -> None:
    """Shows the result table; in a pipe with all there is to say. `query` is the one answered, if there are several."""
    show_list(result_table(moments, results.width) if is_screen(results) else plain_table(moments, query))


def moment_json(moment: "Moment") -> dict[str, Any]:
    """Returns the fields of a moment for JSON: times to a thousandth of a second, scores to four digits."""
    values = _rounded(vars(moment))
    del values["best"], values["fingerprint"]
    values["alike"] = [_rounded(vars(one)) for one in values["alike"]]
    steps = [_rounded(vars(step)) for step in values.pop("steps")]
    return values | ({"steps": steps} if steps else {})


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    digits = {"score": 4, "start": 3, "end": 3, "duration": 3}
    return {name: round(value, digits[name]) if name in digits else value for name, value in values.items()}


def result_table(moments: Sequence["Moment"], width: int) -> Table:
    """Returns a table of `width` cells with rank, score, file and its marks, moment, length and date."""
    marks = {moment.path: mark_of(moment) for moment in moments}
    needed = max(
        (cell_len(os.sep.join(("…", *path.parts[-2:]))) + mark.cell_len for path, mark in marks.items()), default=0
    )
    columns = _columns(moments)
    columns |= {"Tags": [_cut(text) for text in columns["Tags"]]} if "Tags" in columns else {}
    columns, file_width = _columns_that_fit(columns, width, needed)
    names = short_paths(marks, file_width, {path: mark.cell_len for path, mark in marks.items()})
    files = [Text.assemble(linked(names[moment.path], moment.path), marks[moment.path]) for moment in moments]
    table = new_table()
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("Date", "Tags") else "right", style=STYLES[name], no_wrap=True
        )
        if name in HOW_WELL:
            table.add_column("File", overflow="fold")
    for moment, file, (rank, score, *rest) in zip(moments, files, zip(*columns.values(), strict=True), strict=True):
        table.add_row(rank, score, file, *rest, style="dim" if moment.fits_badly else None)
    return table


def plain_table(moments: Sequence["Moment"], query: str | None = None) -> Table:
    """Returns a table with all columns, however wide, and the marks of a file in a column of their own.

    `query`, if there is one, is the last column."""
    columns = _columns(moments)
    files = {"File": [printable(moment.path) for moment in moments]}
    notes = {"Note": [mark_of(moment).plain.strip() for moment in moments]}
    queries = {} if query is None else {"Query": [printable(query)] * len(moments)}
    table = new_table()
    first = {name: columns.pop(name) for name in ("#", *HOW_WELL) if name in columns}
    all_columns = first | files | columns | notes | queries
    for name in all_columns:
        table.add_column(name, style=STYLES.get(name, ""))
    for row in zip(*all_columns.values(), strict=True):
        table.add_row(*row)
    return table


def _columns(moments: Sequence["Moment"]) -> dict[str, list[str]]:
    """Returns the texts of each column except the file, by the name of the column; tags only if there are any."""
    tags = [", ".join(map(printable, tags_of(moment))) for moment in moments]
    return {
        "#": [str(moment.rank) for moment in moments],
        **_how_well(moments),
        "Moment": [span(moment.start, moment.end) for moment in moments],
        "Length": [clock(max(1, round(moment.duration))) for moment in moments],
        "Date": [local_time(moment.created).date().isoformat() for moment in moments],
        **({"Tags": tags} if any(tags) else {}),
    }


def tags_of(moment: "Moment") -> list[str]:
    """Returns the tags of a moment, those added automatically with a mark."""
    return [*moment.tags, *(f"{AUTOMATIC}{name}" for name in moment.tags_auto)]


def _cut(text: str) -> str:
    return set_cell_size(text, TAGS_WIDTH - 1) + "…" if cell_len(text) > TAGS_WIDTH else text


def _how_well(moments: Sequence["Moment"]) -> dict[str, list[str]]:
    """Returns the column that says how well each moment fits: the match, or the score where that is not known."""
    if moments and all(moment.match is not None for moment in moments):
        return {"Match": [f"{moment.match} %" for moment in moments]}
    return {"Score": [f"{moment.score:z.3f}" for moment in moments]}


def how_well(moments: Sequence["Moment"]) -> list[str]:
    """Returns how well each moment fits, as the table says it."""
    [texts] = _how_well(moments).values()
    return texts


def _columns_that_fit(columns: dict[str, list[str]], width: int, needed: int) -> tuple[dict[str, list[str]], int]:
    """Returns the columns that leave `needed` cells of `width` for the file, and how many cells the file gets.

    Without the date it has more, and without the length and the tags too. If that is not enough either,
    NARROWEST_FILE cells do; no other column is dropped, and then the file gets narrower."""
    choices = [columns]
    for least in ("Date", "Length", "Tags"):
        choices.append({name: texts for name, texts in choices[-1].items() if name != least})
    widths = [
        width - sum(max(map(cell_len, [name, *texts])) + COLUMN_GAP for name, texts in one.items()) for one in choices
    ]
    for least_width in (max(needed, NARROWEST_FILE), NARROWEST_FILE):
        for chosen, file_width in zip(choices, widths, strict=True):
            if file_width >= least_width:
                return chosen, file_width
    return choices[-1], widths[-1]


def mark_of(moment: "Moment") -> Text:
    """Returns what else there is to say about a video, such as `offline`; empty for most."""
    copies = f" +{plural(len(moment.copies), 'copy', 'copies')}" if moment.copies else ""
    alike = f" +{len(moment.alike)} alike" if moment.alike else ""
    return Text.assemble(
        ("" if moment.online else " offline", "dim"),
        (" incomplete" if moment.damage else "", "yellow"),
        (copies, "dim"),
        (alike, "dim"),
    )


def linked(text: str, path: Path) -> Text:
    """Returns text that opens the file with a click, in terminals that support it."""
    name = len(text) - text.rfind(os.sep) - 1
    shown = Text(text, style=f"link {path.as_uri()}" if path.is_absolute() else "")
    shown.stylize("dim", 0, len(text) - name)
    return shown
