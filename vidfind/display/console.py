"""Writes to the terminal: results to stdout, progress and messages to stderr.

File names and queries may contain anything, so all text from outside goes through `printable` and is never read as rich
markup. Times are in seconds.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from vidfind.display.text import near_path, printable


def size_if_dumb(term: str = os.environ.get("TERM", "")) -> dict[str, Any]:
    """The size of a terminal that TERM calls dumb, as arguments of a Console, which would take it for 80 cells wide."""
    if term.lower() in ("dumb", "unknown"):
        for stream in (2, 1, 0):
            with suppress(OSError):
                width, height = os.get_terminal_size(stream)
                columns = os.environ.get("COLUMNS", "")
                return {"width": int(columns) if columns.isdecimal() else width or 80, "height": height or 25}
    return {}


results = Console(markup=False, highlight=False, emoji=False, **size_if_dumb())
messages = Console(markup=False, highlight=False, emoji=False, stderr=True, **size_if_dumb())
errors = Console(markup=False, highlight=False, emoji=False, stderr=True, **size_if_dumb())
"""The console for errors, which `be_quiet` does not hide."""
COMMAND = "  vidfind "
"""How a line of a message begins that is a command."""
PIPE_WIDTH = 10_000  # not a terminal: nothing is shortened or folded


# Lines


def message(text: str) -> None:
    """Prints a sentence on stderr, for a person; see `say`."""
    say(messages, text)


def error(text: object) -> None:
    say(errors, Text.assemble(("Error: ", "bold red"), sentence(text, is_screen(errors))))


def hint(text: str) -> None:
    """Prints a remark about an error, which `be_quiet` does not hide either."""
    say(errors, text)


def say(console: Console, text: str | Text) -> None:
    """Prints a sentence; on a terminal it is wrapped at spaces, so that no word, path or command is cut in two."""
    text = text if isinstance(text, Text) else Text(sentence(text, is_screen(console)))
    for line in text.split("\n"):
        fits = not is_screen(console) or line.plain.startswith(COMMAND)
        for part in [line] if fits else _wrapped(line, console.width):
            console.print(part, soft_wrap=True)


def _wrapped(text: Text, width: int) -> Iterator[Text]:
    """Yields lines of at most `width` cells, cut at spaces; a longer word has a line of its own."""
    cuts, used = [], 0
    for word in re.finditer(r"\s*\S+", text.plain):
        used += cell_len(word[0])
        if used > width and word.start():
            bare = word[0].lstrip()
            cuts.append(word.end() - len(bare))
            used = cell_len(bare)
    for line in text.divide(cuts):
        line.rstrip()
        yield line


def sentence(text: object, apart: bool = False) -> str:
    """Returns `text` harmless, on one line but for the command lines in it that have lines of their own.

    `apart`: each command line that ends a sentence gets one."""
    lines = re.split(rf"\n(?={COMMAND})", str(text))
    if apart:
        lines = [line for one in lines for line in _with_commands_apart(one)]
    return "\n".join(map(printable, lines))


def _with_commands_apart(text: str) -> list[str]:
    """Splits `To mend it: vidfind doctor --fix` before the command, and after it where three spaces follow."""
    lines = []
    for part in text.split("   "):
        said, colon, command = part.partition(": vidfind ")
        if colon and not re.search(r"\. |, | \(|: ", command):
            lines += [f"{said}:", COMMAND + command]
        else:
            lines.append(part)
    return lines if any(line.startswith(COMMAND) for line in lines) else [text]


def is_screen(console: Console) -> bool:
    """Whether what is printed is seen at once; a pipe that FORCE_COLOR or the like colours is no screen."""
    return console.file.isatty()


def json_line(values: dict[str, Any]) -> None:
    """Prints one JSON object on stdout, in ASCII, so that no locale can break it."""
    sys.stdout.write(json.dumps(values, default=_to_json) + "\n")
    sys.stdout.flush()  # a reader sees each video as soon as it is done


def _to_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def path_line(path: Path, ends_with_nul: bool = False) -> None:
    """Prints a path on stdout: byte for byte into a pipe, harmless on a terminal; then a new line or a NUL."""
    end = "\0" if ends_with_nul else "\n"
    if is_screen(results):
        sys.stdout.write(printable(path) + end)
    else:
        sys.stdout.buffer.write(os.fsencode(path) + end.encode())
    sys.stdout.flush()  # so that a reader that has left is noticed here, not when Python ends


def result_line(text: str) -> None:
    """Prints a line on stdout that other programs may read, at once and never folded."""
    results.print(Text(printable(text)), soft_wrap=True)
    sys.stdout.flush()


def result_path(path: Path) -> str:
    """Returns a path for stdout: short on a screen, and in a pipe whole, so that another program can open the file."""
    return near_path(path) if is_screen(results) else printable(path)


def new_table(gap: int = 1) -> Table:
    """Returns an empty table in vidfind's style, with `padding` cells on both sides of a column."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap), header_style="bold")


def facts(rows: Iterable[tuple[str | Text, str | Text]], style: str = "bold") -> Table:
    """Names in a column of this style, and what there is to say of each in a column that is folded."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in rows:
        grid.add_row(name, fact if isinstance(fact, Text) else printable(fact))
    return grid


def show(renderable: RenderableType) -> None:
    """Prints a table or a text on stdout, as wide as the terminal; a pipe gets all of it."""
    if not is_screen(results):
        results.width = PIPE_WIDTH
    results.print(renderable)


def show_list(table: Table) -> None:
    """Prints a table that has a row for each thing listed; a pipe gets it as `_print_rows` says."""
    if is_screen(results):
        results.print(table)
    else:
        _print_rows(table)


def _print_rows(table: Table) -> None:
    """Prints a table for programs: a line for each row, a tab between two columns, nothing padded, cut or folded."""
    columns = [[column.header, *column.cells] for column in table.columns]
    for row in zip(*columns, strict=True):
        for number, (cell, column) in enumerate(zip(row, table.columns, strict=True), start=1):
            text = cell if isinstance(cell, Text) else Text(str(cell), style=column.style)
            results.print(text, end="\n" if number == len(row) else "\t", soft_wrap=True)


class LogLines(logging.Handler):
    """Prints the log of vidfind's modules on stderr: warnings, and with `-v` everything."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        trace = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""
        for line in (
            record.getMessage(),
            *trace.splitlines(),
        ):  # a message is one line, even if a file name contains line ends
            say(messages, Text(printable(line), style=style))


logger = logging.getLogger("vidfind")
logger.addHandler(LogLines())
logger.propagate = False  # open_clip gives the root logger a handler, which would repeat everything


def be_quiet() -> None:
    """From now on, shows errors, but no progress and no messages."""
    messages.quiet = True
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # downloads draw bars of their own


def show_log() -> None:
    logger.setLevel(logging.DEBUG)


# Demo


def heading(text: str, is_first: bool = False) -> None:
    """Prints a sentence on stdout, wrapped at words, after an empty line unless it is the first."""
    show(Text(text if is_first else f"\n{text}", style="bold"))


def note(text: str) -> None:
    """Prints a remark about the table above."""
    show(Text(printable(text), style="italic"))


def commands(*lines: Sequence[str]) -> None:
    """Prints commands of vidfind as the user would type them: with `uv run` if this one was started so."""
    prefix = ["uv", "run"] if "UV_RUN_RECURSION_DEPTH" in os.environ else []
    results.print()
    for arguments in lines:
        text = " ".join(f'"{word}"' if " " in word else word for word in [*prefix, "vidfind", *arguments])
        results.print(Text.assemble(("$ ", "dim"), (printable(text), "green")), soft_wrap=True)
