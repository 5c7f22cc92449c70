"""`vidfind search`: answers one query. Without a query, prompt.py takes over."""

import atexit
import functools
import gc
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from vidfind.cli.options import Device, Dtype, IndexName, Json, Quiet, Verbose
from vidfind.cli.prompt import WHAT_TO_GIVE, Answers, Form, answer_all, open_searcher, play_moment
from vidfind.errors import BadInput
from vidfind.search.dates import EXAMPLES, parse_period, parse_time_of_day
from vidfind.search.filters import LIMIT, NO_FILTERS, Filters
from vidfind.system import paths


def search_command(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY", help="What to look for, in plain words. [default: ask for one after the other]"
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="COUNT", min=1, help="How many moments to show.")
    ] = LIMIT,
    per_video: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="At most this many moments of each video.")
    ] = NO_FILTERS.per_video,
    folders: Annotated[
        list[str] | None,
        typer.Option(
            "--in",
            metavar="FOLDER",
            help="Only videos under this folder, or this video, or a pattern such as 'trips/*'. May be given again.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="No videos under this folder, or with a file or folder of a name like '*.gif'. May be given again.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help=f"Only videos filmed on this day or later: {EXAMPLES}. Days are those of local time."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only videos filmed up to the end of this day, week, month or year."),
    ] = None,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="TIME TIME",
            help="Only moments filmed at this time of day, such as 22:00 05:00, which is over midnight.",
        ),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(metavar="SCORE", help="Only moments with at least this score.", show_default=False),
    ] = NO_FILTERS.min_score,
    online: Annotated[
        bool, typer.Option("--online", help="Only videos whose files are there now, not those on unplugged drives.")
    ] = False,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[@TIME]", help="Search with a picture, a video, or its moment at 1:23, instead of words."
        ),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine", help="Look at the files again for where each moment begins and ends; takes seconds for each."
        ),
    ] = False,
    copies: Annotated[bool, typer.Option("--copies", help="Show each copy of a video as a result of its own.")] = False,
    as_json: Json = False,
    as_paths: Annotated[bool, typer.Option("--paths", help="Print only the path of each video found.")] = False,
    print0: Annotated[
        bool, typer.Option("--print0", "-0", help="Like --paths, with a NUL character after each path, for `xargs -0`.")
    ] = False,
    play: Annotated[
        int | None, typer.Option("--open", metavar="RANK", min=1, help="Play the moment of this rank.")
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the moments that a query describes, best first.

    Without a query, vidfind asks for one after the other until Ctrl-D or an empty line; type a number to play the
    result of that rank. From a pipe, each line is a query.

    \b
    Example:
      vidfind search "dog catching frisbee" --in ~/Videos/2024 --open 1
    """
    from vidfind.media.read import is_picture
    from vidfind.search.expression import Expression, parse_like
    from vidfind.system.imports import import_numpy

    words = " ".join(query or []).strip()
    if (query and not words) or (words and like):
        raise typer.BadParameter(WHAT_TO_GIVE)
    if as_json and (as_paths or print0):
        raise typer.BadParameter(f"Give either --json or {'--print0' if print0 else '--paths'}.")
    if play is not None and not (words or like):
        raise typer.BadParameter("--open needs a query. When vidfind asks for queries, type the rank to play it.")
    filters = _filters(
        folders or (),
        exclude or (),
        since,
        until,
        between,
        min_score=min_score,
        online=online,
        per_video=per_video,
        copies=copies,
    )
    form: Form = "json" if as_json else "print0" if print0 else "paths" if as_paths else "table"
    answers = Answers(filters, limit, form, refine)
    import_numpy()  # before anything else does
    atexit.register(_end_at_once)
    if not (words or like):
        answer_all(name, answers)
        return
    searcher, activity = open_searcher(name, device, dtype)
    with activity:
        expression = Expression(words, like=[parse_like(like)] if like else ())
        if any(is_picture(example.file) for example in expression.likes):
            activity.announce("A picture shows no motion: videos in which something moves may rank low.")
        find = functools.partial(searcher.find, expression)
        moments = answers.find(find)
    answers.show(moments, find)
    if play is not None:
        play_moment(moments, play)


def _filters(
    folders: Sequence[str],
    exclude: Sequence[str],
    since: str | None,
    until: str | None,
    between: tuple[str, str] | None,
    **others: Any,
) -> Filters:
    """Returns the filters of the options; `others` are as they are given. Raises BadParameter for impossible ones."""
    try:
        first = parse_period(since).first if since is not None else None
        last = parse_period(until).last if until is not None else None
        times = (parse_time_of_day(between[0]), parse_time_of_day(between[1])) if between else None
        return Filters(tuple(folders) or None, first, last, exclude=tuple(exclude), between=times, **others)
    except BadInput as error:
        raise typer.BadParameter(str(error)) from error


def _end_at_once() -> None:
    """Ends the process without Python's search for cycles in all imported modules, which takes 200 ms."""
    if "torch" not in sys.modules:
        gc.freeze()
