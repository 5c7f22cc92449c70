"""`vidfind eval`: measures how well encoders find the user's videos by captions."""

import functools
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.cli.shared import completion
from vidfind.cli.shared.captioned import read_good_pairs, store_if_any
from vidfind.cli.shared.options import (
    PAIRS,
    Device,
    Dtype,
    EncoderOption,
    IndexName,
    Json,
    Model,
    Overlap,
    Pretrained,
    Quiet,
    SamplingChoice,
    SegmentLength,
    SkipBad,
    Verbose,
    adapter_option,
)
from vidfind.encoders.names import EncoderChoice
from vidfind.media.sampling import DEFAULT_SAMPLING
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.display.activity import Activity
    from vidfind.encoders.stream import Progress
    from vidfind.training.evaluate import Measuring, Verdict


def evaluate_command(
    pairs: Annotated[Path | None, PAIRS] = None,
    match: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="FILE FILE",
            help="Instead: try how well the match of a search tells descriptions of what is in the index, a line for "
            "each in the first file, from those of what is not, in the second.",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        adapter_option("The adapter to evaluate, or none.", "the index's own, or none"),
    ] = None,
    encoder: EncoderOption = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Compare several encoders and adapters, with time, GFLOPs and tokens: mean,tempme,NAME.",
            autocompletion=completion.names_to_compare,
        ),
    ] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    segment: SegmentLength = None,
    overlap: Overlap = None,
    sampling: SamplingChoice = DEFAULT_SAMPLING,
    skip_bad: SkipBad = False,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    details: Annotated[
        bool, typer.Option("--details", help="Show recall, ranks, and what a clip costs, in a table.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well an encoder finds your videos.

    By captions that you wrote; a few dozen are enough.

    \b
    Example:
      vidfind eval --pairs captions.csv --compare tempme,mean
    """
    if (pairs is None) == (match is None):
        raise typer.BadParameter("Give either --pairs FILE, or --match FILE FILE.")
    if match:
        from vidfind.cli.search import try_match

        try_match(*match, name, as_json)
        return
    assert pairs
    asked = EncoderChoice(model, pretrained, encoder, adapter)
    names = list(dict.fromkeys(filter(None, map(str.strip, (compare or "").split(",")))))
    if compare is not None and not names:
        raise typer.BadParameter("Give --compare the names of encoders or adapters: tempme,mean")
    if names and (adapter or encoder):
        raise typer.BadParameter("Give --compare, or else --adapter and --encoder.")

    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.text import printable
    from vidfind.display.training import show_verdict, verdict_json

    with Activity("Loading PyTorch", enabled=not (as_json and sys.stdout.isatty())) as activity:
        from vidfind.models.load import load_choice
        from vidfind.store.settings import IndexSettings
        from vidfind.training.choose import choose_encoders, load_encoders, words_of
        from vidfind.training.evaluate import check_pairs, evaluate

        store = store_if_any(name)
        settings = store.settings if store else None
        choices = choose_encoders(
            names, asked, settings.identity if settings else None, store.adapter if store else None, activity.announce
        )
        activity.say(f"Reading {printable(pairs)}")
        good = read_good_pairs(pairs, skip_bad)
        check_pairs(good)  # before a model is fetched for nothing
        encoders = load_encoders(
            choices,
            functools.partial(load_choice, device=device, dtype=dtype, announce=activity.announce),
            lambda column: activity.say(f"Loading {printable(column)}"),
        )
        activity.say("Reading videos")
        length = segment or (settings or IndexSettings).segment_length
        overlaps = (settings or IndexSettings).overlap if overlap is None else overlap
        with closing(evaluate(good, encoders, length, sampling, overlaps, words_of(choices))) as events:
            verdict = _follow(events, activity)
    if as_json:
        for values in verdict_json(verdict):
            console.json_line(values)
    else:
        show_verdict(verdict, details)


def _follow(events: "Iterator[Progress | Measuring | Verdict]", activity: "Activity") -> "Verdict":
    """Shows how an evaluation goes on, and returns its result."""
    from vidfind.training.evaluate import Measuring, Verdict

    for event in events:
        if isinstance(event, Verdict):
            return event
        if isinstance(event, Measuring):
            activity.say("Measuring time and tokens")
        else:
            activity.advance(event)
    raise AssertionError("an evaluation ends with its verdict")
