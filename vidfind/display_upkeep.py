"""How the findings of `vidfind doctor` are shown: as it goes, so that what was found is there even if it crashes."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from vidfind.display import message, plural, printable, show

if TYPE_CHECKING:
    from vidfind.doctor import Finding

LABEL_WIDTH = 9  # Packages, and a space: longer names of checks are folded


def show_finding(finding: "Finding") -> None:
    """A row: the name of the check, what was found, what is wrong and what was done."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", width=LABEL_WIDTH, overflow="fold")
    table.add_column(overflow="fold")
    lines = [Text(_short(finding.facts))] if finding.facts else []
    lines += [Text.assemble(("Mended  ", "green"), _short(text)) for text in finding.mended]
    for problem in finding.problems:
        lines.append(Text.assemble(("Problem  ", "bold red"), _short(problem.text)))
        if problem.remedy:
            lines.append(Text.assemble(("Remedy   ", "yellow"), _short(problem.remedy)))
    for number, line in enumerate(lines):
        table.add_row("" if number else printable(finding.check), line)
    show(table)


def show_verdict(problems: int, mended: int, fix: bool) -> None:
    """The last line."""
    if mended:
        message(f"Mended: {plural(mended, 'thing')}.")
    if problems:
        hint = "" if fix else " What can be mended here is mended by: vidfind doctor --fix"
        message(f"{plural(problems, 'problem')}{' left' if fix else ''}.{hint}")
    else:
        message("No problem found." if not mended else "No problem left.")


def finding_json(finding: "Finding") -> dict[str, Any]:
    """A line of `vidfind doctor --json`."""
    return dataclasses.asdict(finding)


def _short(text: str) -> str:
    """Printable, with `~` for the user's own folder, whose name is nobody's business."""
    own = str(Path.home())
    return printable(text.replace(own + os.sep, f"~{os.sep}") if own.strip(os.sep) else text)
