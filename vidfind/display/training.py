"""Shows recall tables, lines that cannot be used, and the progress of a training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vidfind.display.console import errors, new_table, note, say, show
from vidfind.display.text import gflops, milliseconds, plural, printable
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.encoders.costs import ClipCost
    from vidfind.training.captions import BadLine
    from vidfind.training.evaluate import Verdict
    from vidfind.training.finetune import Stepped, Validated
    from vidfind.training.recall import Recall, Retrieval

# What a row shows, how, and which of its values is the best.
RECALL_ROWS: dict[str, tuple[Callable[["Recall"], float], str, Callable[..., float]]] = {
    "R@1": (lambda recall: recall.r1, ".1f", max),
    "R@5": (lambda recall: recall.r5, ".1f", max),
    "R@10": (lambda recall: recall.r10, ".1f", max),
    "Median rank": (lambda recall: recall.median, ".4g", min),
    "Mean rank": (lambda recall: recall.mean, ".1f", min),
}
MANY = 4  # columns: their names go on in the next line after a hyphen
CROWDED = 6  # columns: they stand closer
COST_ROWS: dict[str, tuple[Callable[["ClipCost"], float], Callable[[Any], str]]] = {
    "Time, ms": (lambda cost: cost.seconds, milliseconds),
    "GFLOPs": (lambda cost: cost.flops, gflops),
    "Tokens": (lambda cost: cost.tokens, "{:,}".format),
}
"""Rows of costs of encoding a clip: how each is shown; less is better."""


def show_bad_lines(path: Path, bad: Sequence["BadLine"]) -> None:
    """Prints on stderr the lines of a file of captions that cannot be used, each with the reason."""
    if not bad:
        return
    heading = f"{printable(path)} has lines that cannot be used:"
    say(errors, Text(heading, style="bold yellow"))
    show_lines(bad)


def show_lines(bad: Sequence["BadLine"]) -> None:
    """Returns the line number and the reason of each."""
    for one in bad:
        say(errors, Text.assemble(f"  line {one.line}: ", (printable(one.reason), "yellow")))


def show_verdict(verdict: "Verdict") -> None:
    """Shows the recall of each encoder, the cost of a clip, and what it was measured on."""
    show(recall_table(verdict.retrieval, verdict.costs))
    note(measured(verdict))
    note(costs_measured(verdict))


def measured(verdict: "Verdict") -> str:
    captions, videos = plural(verdict.captions, "caption"), plural(verdict.videos, "video")
    if not verdict.moments:
        return f"{captions}, to be found among {videos}."
    segments = f"{plural(verdict.segments, 'segment')} of {verdict.segment_length:g} s"
    return f"{captions} of {plural(verdict.moments, 'moment')}, to be found among {segments} in {videos}."


def costs_measured(verdict: "Verdict") -> str:
    return (
        f"Time: to encode a clip, measured afterwards in turn, {plural(verdict.clips_at_a_time, 'clip')} at a time; "
        "decoding is left out. Tokens: what is left of a clip after the last block."
    )


def training_lines(stepped: "Stepped", judged: Sequence["Validated"], width: int) -> RenderableType:
    """Returns a bar of the steps, with the loss, the recall on held-out pairs before and now, and the time left."""
    lines = Table.grid()  # a bar by itself does not end its line
    lines.add_row(ProgressBar(total=stepped.steps, completed=stepped.step, width=min(60, width)))
    lines.add_row(Text(training_facts(stepped, judged), no_wrap=True, overflow="ellipsis"))
    return lines


def training_facts(stepped: "Stepped", judged: Sequence["Validated"]) -> str:
    """Returns the step, the loss, the recall on held-out pairs before and now, and the time left, on one line."""
    recalls = [f"{one.retrieval.text_to_video.r1:.0f}" for one in judged]
    facts = [
        f"step {stepped.step:,} of {stepped.steps:,}",
        f"loss {stepped.loss:.3f}",
        f"held-out R@1 {' → '.join(dict.fromkeys([recalls[0], recalls[-1]]))} %" if recalls else "",
        f"{clock(stepped.seconds_left)} left",
    ]
    return "  ".join(filter(None, facts))


def show_before_and_after(before: "Retrieval", after: "Retrieval", pairs: int, pool: int) -> None:
    """Shows the recall of the held-out pairs before and after training, each found among `pool` pairs."""
    show(recall_table({"before": before, "after": after}))
    note(f"{plural(pairs, 'pair')} held out from training, to be found among {pool:,}.")


def verdict_json(verdict: "Verdict") -> Iterator[dict[str, Any]]:
    """Yields a line of `vidfind eval --json` for each encoder."""
    counts = {key: value for key, value in vars(verdict).items() if key not in ("retrieval", "costs", "time_error")}
    counts["off"] = verdict.time_error
    for name, retrieval in verdict.retrieval.items():
        yield {"name": name, **retrieval.as_dict(), **verdict.costs[name].as_dict(), **counts}


def recall_table(columns: Mapping[str, "Retrieval"], costs: Mapping[str, "ClipCost"] | None = None) -> Table:
    """Returns a table of recall and ranks in both directions, and of costs; the best of several in a row is bold."""
    gap = 0 if len(columns) >= CROWDED else 1
    table = new_table(gap)
    table.add_column("", no_wrap=True)
    for name in map(printable, columns):
        title = name.replace("-", "-\n") if len(columns) >= MANY else name
        table.add_column(title, justify="right", overflow="fold")
    directions: dict[str, list[Recall]] = {
        "Text to video": [retrieval.text_to_video for retrieval in columns.values()],
        "Video to text": [retrieval.video_to_text for retrieval in columns.values()],
    }
    for direction, recalls in directions.items():
        table.add_row(Text(direction, style="cyan"))
        for name, (value, form, best) in RECALL_ROWS.items():
            table.add_row(f"  {name}", *_numbers([value(recall) for recall in recalls], f"{{:{form}}}".format, best))
    table.add_row("R-Sum", *_numbers([retrieval.r_sum for retrieval in columns.values()], "{:.1f}".format, max))
    if costs:
        table.add_row(Text("A clip costs", style="cyan"))
        for name, (cost_of, shown) in COST_ROWS.items():
            table.add_row(f"  {name}", *_numbers([cost_of(costs[column]) for column in columns], shown, min))
    return table


def _numbers(values: Sequence[float], shown: Callable[[Any], str], best: Callable[..., float]) -> list[Text]:
    """Returns values as they are shown; the best is bold, unless all look the same."""
    texts = [shown(value) for value in values]
    winner = shown(best(values)) if len(set(texts)) > 1 else None
    return [Text(text, style="bold green" if text == winner else "") for text in texts]
