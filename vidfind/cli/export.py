"""`vidfind export`: makes clips of moments, from a query or from what `vidfind search --json` prints."""

import math
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.cli.search import find_moments, narrowing_options, read_options
from vidfind.cli.shared.options import (
    USUAL_WITHIN,
    AnyTag,
    Between,
    Device,
    Dtype,
    Exclude,
    Folders,
    IndexName,
    Is,
    Json,
    Like,
    Limit,
    Literally,
    Maps,
    MinScore,
    NoTag,
    Online,
    PerVideo,
    Quiet,
    Refine,
    Since,
    TagsFrom,
    Then,
    Unlike,
    Until,
    Verbose,
    Within,
    Without,
    WithTag,
)
from vidfind.cli.shared.prompt import Answers, why_nothing
from vidfind.commands import export_command as export_line
from vidfind.commands import moments_command
from vidfind.errors import BadInput, ExitCode
from vidfind.search.question.expression import Expression
from vidfind.search.question.filters import LIMIT, NO_FILTERS
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.export.wanted import Wanted


def export_command(
    context: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY", help="What to look for, in plain words. [default: moments in JSON from a pipe]"
        ),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option("--clips", metavar="FOLDER", help="Write a clip of each moment into this folder.")
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            "--timeline",
            metavar="FILE",
            help="Write a timeline of the moments: .otio, .edl or .fcpxml for editors, .m3u for players, or .csv.",
        ),
    ] = None,
    pad: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Begin so much earlier, and end so much later.")
    ] = 0.0,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy", help="Copy without loss, from a keyframe to a keyframe; how much more that is, is said."
        ),
    ] = False,
    join: Annotated[
        bool,
        typer.Option("--join", help="Make one film of all moments, in the folder of --clips or the .mp4 it names."),
    ] = False,
    limit: Limit = LIMIT,
    per_video: PerVideo = NO_FILTERS.per_video,
    without: Without = None,
    then: Then = None,
    within: Within = USUAL_WITHIN,
    like: Like = None,
    unlike: Unlike = None,
    folders: Folders = None,
    exclude: Exclude = None,
    since: Since = None,
    until: Until = None,
    between: Between = None,
    tag: WithTag = None,
    any_tag: AnyTag = None,
    no_tag: NoTag = None,
    tags_from: TagsFrom = NO_FILTERS.tags_from,
    classes: Is = None,
    literal: Literally = False,
    min_score: MinScore = NO_FILTERS.min_score,
    online: Online = False,
    refine: Refine = False,
    as_json: Json = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make clips, or a timeline, of moments.

    Of those that a query describes, that have tags or classes, or that a search in a pipe found.

    A clip begins and ends at the exact frames, is H.264 with AAC sound (HDR stays HDR, as HEVC), and keeps how the
    picture is turned, its colours and when it was filmed. No file is ever overwritten.

    \b
    Example:
      vidfind export "dog catching frisbee" -n 20 --clips dogs
      vidfind search "dog catching frisbee" --json | vidfind export --timeline dogs.edl
    """
    expression, answers = read_options(context, Answers())
    if clips is None and timeline is None:
        raise typer.BadParameter("Say what to make, and where: --clips FOLDER, --timeline FILE, or both.")
    if (copy or join) and clips is None:
        raise typer.BadParameter(f"{'--copy' if copy else '--join'} needs --clips FOLDER.")
    if copy and join:
        raise typer.BadParameter("Give either --copy or --join: clips of several videos are joined by encoding them.")
    if timeline is not None:
        check_name(timeline)
    if not math.isfinite(pad):
        raise typer.BadParameter("--pad takes a number of seconds.")
    if expression is None and not answers.filters.names_moments:
        narrowing = narrowing_options(context)
        if idle := [option for option in narrowing if option != "--limit"]:
            raise typer.BadParameter(f"{idle[0]} needs a query. Give it to the search that finds the moments.")
        wanted = _piped()[: limit if narrowing else None]
    else:
        wanted = _searched(expression, answers, name, device, dtype)
    if not wanted:
        return
    from vidfind.export.clips import padded

    wanted = padded(wanted, pad)
    failed = 0
    if clips is not None:
        failed = _make_clips(wanted, clips, copy, join, as_json)
    if timeline is not None:
        failed = max(failed, _make_timeline(wanted, timeline, as_json))
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _searched(
    expression: Expression | None, answers: Answers, name: str, device: str, dtype: str
) -> "Sequence[Wanted]":
    from vidfind.display import console
    from vidfind.export.wanted import Wanted

    moments, find = find_moments(expression, answers, name, device, dtype)
    if not moments:
        console.message(why_nothing(find, answers.filters, expression))
    filters = answers.filters
    words = expression.words if expression else " ".join([*filters.class_names, *filters.all_tags, *filters.either_tag])
    return [Wanted(one.path, one.start, one.end, words, one.score, one.copies) for one in moments]


def _piped() -> "Sequence[Wanted]":
    """Returns the moments on stdin. Raises BadParameter if that is a terminal, where nobody types JSON."""
    from vidfind.display import console
    from vidfind.export.wanted import read_wanted

    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter(
            f"Give a query, such as {export_line()}, or in a pipe the moments that come from: {moments_command()}"
        )
    lines = sys.stdin.buffer if hasattr(sys.stdin, "buffer") else sys.stdin
    wanted = list(read_wanted(lines))
    if not wanted:
        console.message("No moments came in, so nothing is exported.")
    return wanted


def check_name(timeline: Path) -> None:
    """Raises BadParameter for a name of a file that names no kind of timeline."""
    from vidfind.export.timeline import writers

    try:
        writers(timeline)
    except BadInput as error:
        raise typer.BadParameter(str(error)) from error


def _make_clips(wanted: "Sequence[Wanted]", folder: Path, copy: bool, join: bool, as_json: bool) -> int:
    """Makes the clips, or the film, and shows them; returns how many moments failed."""
    from vidfind.display.activity import Activity
    from vidfind.display.export import show_events
    from vidfind.export.clips import export_clips
    from vidfind.export.join import film_path, join_clips

    folder = Path(os.path.expanduser(folder))
    events = join_clips(wanted, film_path(wanted, folder)) if join else export_clips(wanted, folder, copy)
    activity = Activity("Making a film" if join else "Making clips")
    with closing(events), activity:  # closed, so that also after Ctrl-C no part of a file is left
        return show_events(events, activity, as_json)


def _make_timeline(wanted: "Sequence[Wanted]", file: Path, as_json: bool) -> int:
    """Writes the timeline and shows its name; returns how many moments failed."""
    from vidfind.display.activity import Activity
    from vidfind.display.export import show_failed, show_timeline
    from vidfind.export.source import Cut, make_cuts
    from vidfind.export.timeline import write_timeline

    with Activity("Reading the videos"):
        events = list(make_cuts(wanted))
        cuts = [one for one in events if isinstance(one, Cut)]
        failed = [one for one in events if not isinstance(one, Cut)]
        made = write_timeline(cuts, Path(os.path.expanduser(file))) if cuts else []
    for one in failed:
        show_failed(one)
    show_timeline(made, as_json)
    return len(failed)
