"""How the figures of `vidfind bench` are shown: a table in groups, beside those of an earlier run if any."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from vidfind.bench.measure import change
from vidfind.display.console import file_size, home_path, message, note, plural, printable, show

if TYPE_CHECKING:
    from vidfind.bench.measure import Earlier, Row

GROUPS = {
    "decode": "Decode: files to clips, nobody encodes them",
    "encode": "Encode: 12 frames of a 10 s clip to a vector",
    "index": "Index: files to a committed index, the whole program",
    "search": "Search",
}


def show_rows(rows: Sequence["Row"], earlier: "Earlier | None") -> None:
    show(rows_table(rows, earlier))


def rows_table(rows: Sequence["Row"], earlier: "Earlier | None") -> Table:
    """Medians with the spread of their runs, and what they are beside; in bold what is clearly better than earlier."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
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
    """The figure as it was, and how many times as good it is now."""
    changed = change(row, before)
    if changed is None or before is None:
        return ["", ""]
    if not changed.is_clear:
        return [number(before["value"]), Text("the same", style="dim")]
    is_better = changed.ratio > 1
    text = f"{changed.ratio:.2f}x better" if is_better else f"{1 / changed.ratio:.2f}x worse"
    return [number(before["value"]), Text(text, style="bold green" if is_better else "bold red")]


def number(value: float) -> str:
    """A figure with about three digits.

    >>> number(1234.5), number(56.78), number(0.123)
    ('1,234', '56.8', '0.12')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(row: "Row") -> Text:
    """How far the runs lie from their middle; nothing where there was one run."""
    if len(row.values) < 2 or not row.value:
        return Text()
    return Text(f"±{50 * (max(row.values) - min(row.values)) / row.value:.0f} %", style="dim")


def beside(row: "Row") -> str:
    return ", ".join(f"{number(ratio)}x {name}" for name, ratio in row.beside.items())


def show_facts(facts: Mapping[str, Any]) -> None:
    """The machine, and what was measured, below the table."""
    note(facts_text(facts))


def show_caveats(rows: Sequence["Row"], earlier: "Earlier", facts: Mapping[str, Any]) -> None:
    """What a reader of the comparison must know, on stderr."""
    if not any(row.key in earlier.rows for row in rows):
        message("No figure is in both runs: compare those of the same groups, --segments and length (--quick).")
    differing = [
        name for name in ("machine", "versions", "threads", "weights") if earlier.facts.get(name) != facts[name]
    ]
    if earlier.facts and differing:
        message(f"Not the same in both runs: {', '.join(differing)}.")


def show_kept(folder: Path, size: int) -> None:
    """What is left behind, on stderr."""
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
