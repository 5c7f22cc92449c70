"""The commands that teach vidfind and judge it: parse, call a pipeline, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidfind import paths
from vidfind.options import Device, Dtype, IndexName, Json, Verbose

if TYPE_CHECKING:
    from vidfind.pairs import Pair

Pairs = Annotated[
    Path, typer.Option(metavar="FILE", help="The captions: a CSV file, path,caption[,start,end], or JSON lines.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without the lines that cannot be used.")]


def evaluate_command(
    pairs: Pairs,
    adapter: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The adapter to judge, or none. [default: the index's own, or none]"),
    ] = None,
    encoder: Annotated[
        Literal["tempme", "mean"] | None,
        typer.Option(help="The encoder to judge. [default: the adapter's or the index's own, or tempme]"),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Judge several encoders and adapters side by side: tempme,mean,NAME."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="open_clip's model name. [default: as for --encoder, or ViT-B-32]"),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Its weights: open_clip's name, or a file. [default: as for --encoder, or the model's recommended]",
        ),
    ] = None,
    segment: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.5, help="Length of a segment. [default: the index's own, or 10]"),
    ] = None,
    skip_bad: SkipBad = False,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well an encoder finds videos by captions of yours; write down a few dozen to know.

    \b
    Example:
      vidfind eval --pairs captions.csv --compare tempme,mean
    """
    given = {"model": model, "pretrained": pretrained, "encoder": encoder, "adapter": adapter}
    asked = {key: None if value == paths.NO_ADAPTER else value for key, value in given.items() if value is not None}
    names = list(dict.fromkeys(filter(None, map(str.strip, (compare or "").split(",")))))
    if compare is not None and not names:
        raise typer.BadParameter("Give --compare the names of encoders or adapters: tempme,mean")
    if names and (adapter or encoder):
        raise typer.BadParameter("Give either --compare or --adapter and --encoder.")

    from vidfind import display, display_learning

    with display.Activity("Starting", enabled=not (as_json and sys.stdout.isatty())) as activity:
        from vidfind.evaluate import Verdict, check_pairs, choose_encoders, evaluate
        from vidfind.registry import load_encoder
        from vidfind.settings import IndexSettings, is_index
        from vidfind.store import Store

        index_path = paths.index_path(name)
        store = Store.open(index_path) if name != paths.DEFAULT_INDEX or is_index(index_path) else None
        ours = store.settings if store else None
        choices = choose_encoders(names, asked, ours, store.adapter if store else None)
        activity.say(f"Reading {display.printable(pairs)}")
        good = _read_pairs(pairs, skip_bad)
        check_pairs(good)  # before a model is fetched for nothing
        encoders = {}
        for column, choice in choices.items():
            activity.say(f"Loading {display.printable(column)}")
            encoders[column] = load_encoder(**choice, device=device, dtype=dtype, announce=activity.announce)
        activity.say("Reading videos")
        length = segment or (ours or IndexSettings).segment_length
        verdict: Verdict | None = None
        with closing(evaluate(good, encoders, length)) as events:
            for event in events:
                if isinstance(event, Verdict):
                    verdict = event
                else:
                    activity.advance(event)
        assert verdict
    if as_json:
        for values in display_learning.verdict_json(verdict):
            display.json_line(values)
    else:
        display_learning.show_verdict(verdict)


def _read_pairs(path: Path, skip_bad: bool) -> "list[Pair]":
    """The pairs of a file of captions. All its bad lines are shown, and an error unless they are to be skipped."""
    from vidfind import display_learning
    from vidfind.pairs import read_pairs, require_good

    pairs, bad = read_pairs(path)
    display_learning.show_bad_lines(path, bad)
    if not skip_bad:
        require_good(path, bad)
    return pairs
