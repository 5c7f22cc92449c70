"""`vidfind bench`: what this machine does. Parse, call, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from vidfind.cli.options import Device, Json, Threads, Verbose
from vidfind.system import paths

INTERRUPTED = 130
GROUPS = ("decode", "encode", "index", "search")


def bench_command(
    only: Annotated[
        str | None, typer.Option(metavar="LIST", help=f"Measure only some of {','.join(GROUPS)}. [default: all]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less of everything, once: in a minute.")] = False,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Also index as most scripts do, a frame a second, and compare.")
    ] = False,
    segments: Annotated[
        int | None,
        typer.Option(metavar="COUNT", min=10, help="How many segments are searched. [default: 100000]"),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="open_clip's name. [default: ViT-B-32]")] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Its weights. [default: random ones, which are as fast]"),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Show what has changed since FILE, from an earlier --json.")
    ] = None,
    threads: Threads = None,
    device: Device = "auto",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure how fast this machine decodes, encodes, indexes and searches, with videos that are drawn for it.

    Takes about five minutes on two cores, and a minute more the first time. Nothing of yours is read or changed. Leave
    the machine alone meanwhile. Ctrl-C shows what is known by then.

    \b
    Example:
      vidfind bench --json > before.json
      vidfind bench --compare before.json
    """
    names = list(dict.fromkeys(filter(None, map(str.strip, (only or ",".join(GROUPS)).split(",")))))
    if unknown := [name for name in names if name not in GROUPS]:
        raise typer.BadParameter(f"There is no {unknown[0]!r} to measure: {', '.join(GROUPS)}.", param_hint="--only")
    if not names:
        raise typer.BadParameter(f"Name some of {', '.join(GROUPS)}.", param_hint="--only")

    from vidfind.bench import measure as bench
    from vidfind.display import console as display
    from vidfind.display import diagnose as display_bench

    earlier = bench.read_earlier(compare) if compare else None
    rows: list[bench.Row] = []
    was_stopped = False
    given = {"segments": segments, "threads": threads}
    with (
        tempfile.TemporaryDirectory(prefix="vidfind-bench-", ignore_cleanup_errors=True) as folder,
        display.Activity("Starting", enabled=not (as_json and sys.stdout.isatty())) as activity,
    ):
        setup = bench.setup(
            Path(folder),
            model,
            pretrained,
            activity.announce,
            device=device,
            quick=quick,
            recipe=recipe,
            say=activity.say,
            **{key: value for key, value in given.items() if value is not None},
        )
        if earlier:
            bench.check_comparable(earlier, setup)
        try:
            for row in bench.measure(setup, names):
                rows.append(row)
                if as_json:
                    display.json_line(bench.row_json(row, earlier))
            activity.say("Looking at the machine")
            facts = bench.describe(setup)
        except KeyboardInterrupt:
            was_stopped = True
            activity.announce("Stopped. This is what is known by now.")
    if not as_json:
        display_bench.show_rows(rows, earlier)
    display_bench.show_kept(paths.footage_path(), bench.footage_kept())
    if was_stopped:
        raise typer.Exit(INTERRUPTED)
    if as_json:
        display.json_line({"bench": facts})
    else:
        display_bench.show_facts(facts)
    if earlier:
        display_bench.show_caveats(rows, earlier, facts)
