"""Writes the reference of all commands and options, vidfind/cli/README.md, from the commands themselves.

uv run python -m tests.support.reference
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from vidfind.cli.app import app

FILE = Path(__file__).parents[2] / "vidfind" / "cli" / "README.md"
INTRODUCTION = """# All commands and options

`vidfind --version` prints the version. Every command takes `-q`, `--quiet`, `-v`, `--verbose` and `-h`, `--help`.
Results go to stdout; progress and messages go to stderr, of which `--quiet` leaves only errors. Exit codes: 0 done,
1 error, 2 wrong usage, 3 done but something is missed, as `vidfind index --help` says, 130 interrupted.

`vidfind --install-completion` lets your shell complete commands, options and the names of indexes, adapters, encoders
and models; `vidfind --show-completion` prints the script for it.

With `--json` each line is one object. `status`: `name`, `path`, what the index was made with, `videos`, `segments`,
`seconds` of footage, `size` in bytes, `folders`, `failed` and `damaged` videos with the `reason`, and `unfinished`.
`list`: `path`, `created`, `created_from`, `seconds`, `width`, `height`, `codec`, `size`, `indexed_at`, `online`,
`failed` and `damage` of each video. `models`: `model`, `pretrained`, `size`, `licence`, `note`, and the `path` of
weights that are on this machine.
`remove`: the `path` of each video, or `index`. `relink`: `path`, `old` and `was_known` of each video.

This page is written from the commands by `uv run python -m tests.support.reference`: change the help texts, not this
page."""


def reference() -> str:
    """The whole page, in Markdown."""
    parts = [INTRODUCTION]
    for path, command in all_commands(typer.main.get_group(app)):
        parts += describe(path, command)
    return "\n\n".join(parts) + "\n"


def all_commands(group: Any, path: str = "vidfind") -> Iterator[tuple[str, Any]]:
    """Each command with its full name, in the order of `vidfind --help`; a group comes before its own commands."""
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{path} {name}")


def describe(path: str, command: Any) -> Iterator[str]:
    """The section of one command: what it does, an example, and a table of its arguments and options."""
    text, _, example = inspect.cleandoc(command.help).partition("\b\nExample:\n")
    arguments = [parameter.metavar for parameter in command.params if parameter.param_type_name == "argument"]
    yield f"## `{' '.join([path, *arguments])}`"
    yield text.strip()
    yield f"```\n{inspect.cleandoc(example)}\n```"
    context = typer.Context(command)
    rows = [row(parameter, context) for parameter in command.params if is_own(parameter)]
    if rows:
        yield "\n".join(["| Option | |", "|---|---|", *rows])


def is_own(parameter: Any) -> bool:
    """Whether a parameter is not one that every command has."""
    return not {"--verbose", "--quiet", "--help"} & set(parameter.opts)


def row(parameter: Any, context: typer.Context) -> str:
    """The line of the table for an argument or an option."""
    return f"| `{cell(names(parameter, context))}` | {cell(help_of(parameter))} |"


def names(parameter: Any, context: typer.Context) -> str:
    """The names of an option as they are typed, and its value: `-n, --limit COUNT`."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    shown: str = parameter.get_help_record(context)[0]
    return re.sub(r"[<\[]+(auto.*?)[>\]]+$", r"\1", shown)  # versions of typer put different brackets around choices


def help_of(parameter: Any) -> str:
    """The help of a parameter, and its default where the program shows it."""
    has_default = isinstance(parameter.default, str | int | float) and not isinstance(parameter.default, bool)
    is_shown = has_default and parameter.show_default is not False
    text: str = parameter.help
    return text + (f" [default: {parameter.default}]" if is_shown else "")


def cell(text: str) -> str:
    """Text for a cell of a table, on one line."""
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
