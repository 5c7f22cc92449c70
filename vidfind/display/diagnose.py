"""Shows the figures of `vidfind bench` and the findings of `vidfind doctor`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from vidfind.bench.earlier import change
from vidfind.commands import mend_command
from vidfind.display.console import message, new_table, note, show
from vidfind.display.text import file_size, home_path, plural, printable
from vidfind.doctor.findings import advice

if TYPE_CHECKING:
    from vidfind.bench.earlier import Earlier
    from vidfind.bench.measure import Row
    from vidfind.doctor.findings import Finding

GROUPS = {
    "decode": "Decode: files to clips, nobody encodes them",
    "encode": "Encode: 12 frames of a 10 s clip to a vector",
    "index": "Index: files to a committed index, the whole program",
    "search": "Search",
}


def show_rows(rows: Sequence["Row"], earlier: "Earlier | None") -> None:
    show(rows_table(rows, earlier))


def rows_table(rows: Sequence["Row"], earlier: "Earlier | None") -> Table:
    """Shows medians with the spread of their runs and their ratios; clear improvements on an earlier run are bold."""
    table = new_table()
    table.add_column("", overflow="fold")
    has_spread = any(spread(row) for row in rows)
    for name in ("Median", "", *(["Spread"] if has_spread else [])):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    table.add_column("That is", overflow="fold")
    if earlier:
        table.add_column("Before", justify="right", no_wrap=True)
        table.add_column("Now", justify="right", no_wrap=True)
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            table.add_row(Text(GROUPS[group] + _size(row), style="cyan"))
        figure = Text(number(row.value), style="bold")
        compared = _comparison(row, earlier.rows.get(row.key)) if earlier else []
        spreads = [spread(row)] if has_spread else []
        table.add_row(f"  {row.what}", figure, row.unit, *spreads, beside(row), *compared)
    return table


def _size(row: "Row") -> str:
    return f": among {int(row.key.split('/')[1]):,} segments" if row.group == "search" else ""


def _comparison(row: "Row", before: Mapping[str, Any] | None) -> list[str | Text]:
    """Returns the earlier figure, and how many times better the new one is."""
    changed = change(row, before)
    if changed is None or before is None:
        return ["", ""]
    if not changed.is_clear:
        return [number(before["value"]), Text("the same", style="dim")]
    is_better = changed.ratio > 1
    text = f"{changed.ratio:.2f}x better" if is_better else f"{1 / changed.ratio:.2f}x worse"
    return [number(before["value"]), Text(text, style="bold green" if is_better else "bold red")]


def number(value: float) -> str:
    """Returns a figure with about three digits.

    >>> number(1234.5), number(56.78), number(0.123)
    ('1,234', '56.8', '0.12')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(row: "Row") -> Text:
    """Returns how far the runs lie from their median; empty for a single run."""
    if len(row.values) < 2 or not row.value:
        return Text()
    return Text(f"±{50 * (max(row.values) - min(row.values)) / row.value:.0f} %", style="dim")


def beside(row: "Row") -> str:
    return ", ".join(
        f"{name} {value:.4f}" if name == "cosine" else f"{number(value)}x {name}" for name, value in row.beside.items()
    )


def show_facts(facts: Mapping[str, Any]) -> None:
    """Shows the machine and the measured settings below the table."""
    note(facts_text(facts))


def show_caveats(rows: Sequence["Row"], earlier: "Earlier", facts: Mapping[str, Any]) -> None:
    """Prints on stderr what a reader of the comparison must know."""
    if not any(row.key in earlier.rows for row in rows):
        message("No figure is in both runs: compare those of the same groups, --segments and length (--quick).")
    differing = [
        name for name in ("machine", "versions", "threads", "weights") if earlier.facts.get(name) != facts[name]
    ]
    if earlier.facts and differing:
        message(f"Not the same in both runs: {', '.join(differing)}.")


def show_kept(folder: Path, size: int) -> None:
    """Prints on stderr what remains in the cache."""
    if size:
        message(
            f"The drawn videos stay in {home_path(folder)} ({file_size(size)}) for the next time, or may be deleted."
        )


def facts_text(facts: Mapping[str, Any]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    parts = [machine["cpu"], plural(machine["cores"], "core"), file_size(machine["memory"]), machine["gpu"] or "no GPU"]
    programs = ", ".join(f"{name} {version}" for name, version in versions.items())
    weights = "random weights, as fast as real ones" if facts["weights"] == "random" else facts["weights"]
    return printable(
        f"{', '.join(parts)}; {machine['system']}; {programs}. {facts['model']} with {weights}; "
        f"{plural(facts['threads'], 'thread')}; drawn videos, version {facts['footage']}."
    )


# Widths that fit all there is, so that rows shown one after another stand below each other.
LABEL_WIDTH = len("Packages")
KIND_WIDTH = len("Problem")
KINDS = {"Mended": "green", "Problem": "bold red", "Remedy": "yellow"}


def show_finding(finding: "Finding") -> None:
    """Shows the name of the check and its facts, then what was mended and what is wrong."""
    name = Text(printable(finding.check), style="bold")
    facts = ": ".join(filter(None, (finding.subject, finding.facts)))
    _show_row({LABEL_WIDTH: name}, facts)
    said = [("Mended", text) for text in finding.mended]
    for problem in finding.problems:
        said += [("Problem", problem.text), ("Remedy", advice(problem))]
    for kind, text in said:
        if text:
            _show_row({LABEL_WIDTH: Text(), KIND_WIDTH: Text(kind, style=KINDS[kind])}, text)


def _show_row(labels: Mapping[int, Text], text: str) -> None:
    """Returns labels with given widths, and a text that is wrapped beside them."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in labels:
        table.add_column(width=width)
    table.add_column(overflow="fold")
    own = str(Path.home())  # its name is nobody's business
    table.add_row(*labels.values(), printable(text.replace(own + os.sep, f"~{os.sep}") if own.strip(os.sep) else text))
    show(table)


def show_verdict(findings: Sequence["Finding"], fix: bool) -> None:
    """Shows the last line: the number of problems, and what to do."""
    problems = [problem for finding in findings for problem in finding.problems]
    mended = sum(len(finding.mended) for finding in findings)
    count = f"{plural(len(problems), 'problem') if problems else 'No problem'} {'left' if fix and mended else 'found'}."
    if any(problem.mend for problem in problems) and not fix:
        count += f" To mend what can be mended: {mend_command()}"
    message(count)


def finding_json(finding: "Finding") -> dict[str, Any]:
    """Returns a line of `vidfind doctor --json`."""
    problems = [{"text": problem.text, "remedy": advice(problem)} for problem in finding.problems]
    return {**vars(finding), "problems": problems}


def summary_json(findings: Sequence["Finding"]) -> dict[str, Any]:
    """Returns the last line of `vidfind doctor --json`."""
    counts = {name: sum(len(getattr(finding, name)) for finding in findings) for name in ("problems", "mended")}
    return {"summary": counts}
