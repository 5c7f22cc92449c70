"""How the findings of `vidfind doctor` are shown: as it goes, so that what was found is there even if it crashes."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from vidfind.display.console import message, plural, printable, show
from vidfind.doctor.checks import FIX

if TYPE_CHECKING:
    from vidfind.doctor.checks import Finding

# Widths that fit all there is, so that rows shown one after another stand below each other.
LABEL_WIDTH = len("Packages")
KIND_WIDTH = len("Problem")
KINDS = {"Mended": "green", "Problem": "bold red", "Remedy": "yellow"}


def show_finding(finding: "Finding") -> None:
    """The name of the check and what was found, then what was done and what is wrong."""
    name = Text(printable(finding.check), style="bold")
    facts = ": ".join(filter(None, (finding.subject, finding.facts)))
    _show_row({LABEL_WIDTH: name}, facts)
    said = [("Mended", text) for text in finding.mended]
    for problem in finding.problems:
        said += [("Problem", problem.text), ("Remedy", problem.remedy)]
    for kind, text in said:
        if text:
            _show_row({LABEL_WIDTH: Text(), KIND_WIDTH: Text(kind, style=KINDS[kind])}, text)


def _show_row(labels: Mapping[int, Text], text: str) -> None:
    """Labels by their widths, and a text that is folded beside them."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in labels:
        table.add_column(width=width)
    table.add_column(overflow="fold")
    own = str(Path.home())  # its name is nobody's business
    table.add_row(*labels.values(), printable(text.replace(own + os.sep, f"~{os.sep}") if own.strip(os.sep) else text))
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
