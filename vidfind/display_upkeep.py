"""How the findings of `vidfind doctor` are shown: as it goes, so that what was found is there even if it crashes."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from vidfind.display import message, plural, printable, show
from vidfind.doctor import FIX

if TYPE_CHECKING:
    from vidfind.doctor import Finding

# Widths that fit all there is, so that rows shown one after another stand below each other.
LABEL_WIDTH = len("Packages")
KIND_WIDTH = len("Problem")
KINDS = {"Mended": "green", "Problem": "bold red", "Remedy": "yellow"}


def show_finding(finding: "Finding") -> None:
    """A row: the name of the check, what was found, what was done and what is wrong."""
    said = Table.grid(padding=(0, 2, 0, 0))
    said.add_column(width=KIND_WIDTH)
    said.add_column(overflow="fold")
    lines = [("Mended", text) for text in finding.mended]
    for problem in finding.problems:
        lines += [("Problem", problem.text), ("Remedy", problem.remedy)]
    for kind, text in lines:
        if text:
            said.add_row(Text(kind, style=KINDS[kind]), _short(text))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", width=LABEL_WIDTH)
    table.add_column(overflow="fold")
    facts = ": ".join(filter(None, (finding.subject, finding.facts)))
    rows: list[RenderableType] = [*([_short(facts)] if facts else []), *([said] if lines else [])]
    for number, row in enumerate(rows):
        table.add_row("" if number else printable(finding.check), row)
    show(table)


def show_verdict(findings: Sequence["Finding"], fix: bool) -> None:
    """The last line: how many problems there are, and what to do."""
    problems = [problem for finding in findings for problem in finding.problems]
    mended = sum(len(finding.mended) for finding in findings)
    count = f"{plural(len(problems), 'problem') if problems else 'No problem'} {'left' if fix and mended else 'found'}."
    if any(FIX in problem.remedy for problem in problems) and not fix:
        count += f" To mend what can be mended: {FIX}"
    message(count)


def finding_json(finding: "Finding") -> dict[str, Any]:
    """A line of `vidfind doctor --json`."""
    return dataclasses.asdict(finding)


def summary_json(findings: Sequence["Finding"]) -> dict[str, Any]:
    """The last line of `vidfind doctor --json`."""
    counts = {name: sum(len(getattr(finding, name)) for finding in findings) for name in ("problems", "mended")}
    return {"summary": counts}


def _short(text: str) -> str:
    """Printable, with `~` for the user's own folder, whose name is nobody's business."""
    own = str(Path.home())
    return printable(text.replace(own + os.sep, f"~{os.sep}") if own.strip(os.sep) else text)
