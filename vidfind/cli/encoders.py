"""`vidfind encoders`: the ways to encode a clip, and what each costs. Parse, call, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import sys
from typing import Annotated

import typer

from vidfind.cli.options import Device, Dtype, IndexName, Json, Threads, Verbose
from vidfind.system import paths


def encoders_command(
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="open_clip's model name. [default: the index's own, or ViT-B-32]"),
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    threads: Threads = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List the ways to encode a clip, with what each costs: tokens, GFLOPs, trained numbers, time on this machine.

    Measured with random weights, which are as fast as real ones: a minute or two on two cores, and many with a larger
    model. Nothing is fetched. How well each finds your own videos, `vidfind eval --compare` tells.

    \b
    Example:
      vidfind encoders --model ViT-B-16
    """
    from vidfind.display import console as display
    from vidfind.display import encoders as display_encoders

    with display.Activity("Starting", enabled=not (as_json and sys.stdout.isatty())) as activity:
        from vidfind.bench.encoders import line_up
        from vidfind.store.settings import is_index
        from vidfind.store.store import Store
        from vidfind.system.machine import use_threads

        use_threads(threads)
        path = paths.index_path(name)
        if model is None and (name != paths.DEFAULT_INDEX or is_index(path)):
            model = Store.open(path).settings.model
        lineup = line_up(model, device, dtype, activity.say)
    if as_json:
        for values in display_encoders.lineup_json(lineup):
            display.json_line(values)
    else:
        display_encoders.show_lineup(lineup)
