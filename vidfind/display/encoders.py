"""How the ways to encode a clip are shown, and what each of them costs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from vidfind.display.console import gflops, milliseconds, note, plural, printable, results, show

if TYPE_CHECKING:
    from vidfind.bench.encoders import Lineup
    from vidfind.encoders.costs import ClipCost

BASELINE = "mean"


def show_lineup(lineup: "Lineup") -> None:
    """A table of figures, what each encoder does below it, and how all was measured."""
    show(figures_table(lineup))
    results.print()
    show(notes_table(lineup))
    results.print()
    note(measured(lineup))


def figures_table(lineup: "Lineup") -> Table:
    """Tokens and GFLOPs, each also as a change from plain CLIP; trained numbers and time."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("Encoder", no_wrap=True)
    for name in ("Tokens", "", "GFLOPs", "", "Trained", "ms a clip"):
        table.add_column(name, justify="right", no_wrap=True, style="" if name else "dim")
    base = next((way.cost for way in lineup.ways if way.name == BASELINE), None)
    for way in lineup.ways:
        style = "bold green" if way.is_default else "cyan"
        trained = f"{way.trained:,}" if way.trained is not None else "-"
        table.add_row(Text(way.name, style=style), *_work(way.cost, base), trained, _time(way.cost))
    return table


def _work(cost: "ClipCost | None", base: "ClipCost | None") -> list[str]:
    if cost is None:
        return ["-", "", "-", ""]
    assert base  # what any encoder can do, plain CLIP can
    return [
        f"{cost.tokens:,}",
        change(cost.tokens, base.tokens),
        gflops(cost.flops),
        change(cost.flops, base.flops),
    ]


def change(value: float, base: float) -> str:
    """How much less or more than `base`; nothing where it is as much.

    >>> change(97, 600), change(606, 600), change(600, 600)
    ('-84 %', '+1 %', '')
    """
    return "" if value == base else f"{100 * (value / base - 1):+.0f} %"


def _time(cost: "ClipCost | None") -> str:
    return milliseconds(cost.seconds) if cost else "-"


def notes_table(lineup: "Lineup") -> Table:
    """What each encoder does, what it needs, and what is in its way."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for way in lineup.ways:
        text = Text(printable(way.note))
        if way.is_default:
            text.append("; the default", "green")
        if way.needs_adapter:
            text.append(f". Needs an adapter: vidfind finetune --pairs FILE --encoder {way.name}")
        if way.problem:
            text.append(f" ({printable(way.problem)})", "yellow")
        table.add_row(Text(way.name, style="cyan"), text)
    return table


def measured(lineup: "Lineup") -> str:
    weights = "the weights in the package" if lineup.model == "tiny" else "random weights, as fast as real ones"
    return (
        f"{lineup.model} with {weights}; clips of {plural(lineup.num_frames, 'frame')}, "
        f"{plural(lineup.clips_at_a_time, 'clip')} at a time on {lineup.device} in {lineup.dtype}. "
        "Tokens: what is left of a clip after the last block. GFLOPs: matrix products and attention of a clip, two "
        "operations for each multiply-add. Trained: the numbers that `vidfind finetune` learns."
    )


def lineup_json(lineup: "Lineup") -> Iterator[dict[str, Any]]:
    """A line of `vidfind encoders --json` for each encoder."""
    facts = {key: value for key, value in vars(lineup).items() if key != "ways"}
    for way in lineup.ways:
        values = {key: value for key, value in vars(way).items() if key != "cost"}
        yield {**values, **(way.cost.as_dict() if way.cost else {}), **facts}
