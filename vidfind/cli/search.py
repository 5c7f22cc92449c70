"""`vidfind search`: answers one query. Without a query, prompt.py takes over."""

import atexit
import functools
import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfind.cli.options import (
    AnyTag,
    Between,
    Device,
    Dtype,
    Exclude,
    Folders,
    IndexName,
    Json,
    Like,
    Limit,
    MinScore,
    NoTag,
    Online,
    PerVideo,
    Quiet,
    Refine,
    Since,
    TagsFrom,
    Until,
    Verbose,
    WithTag,
)
from vidfind.cli.prompt import WHAT_TO_GIVE, Answers, Find, Form, answer_all, open_searcher, play_moment
from vidfind.errors import BadInput
from vidfind.search.dates import parse_period, parse_time_of_day
from vidfind.search.filters import LIMIT, NO_FILTERS, Filters
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.search.moments import Moment


def search_command(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY", help="What to look for, in plain words. [default: ask for one after the other]"
        ),
    ] = None,
    limit: Limit = LIMIT,
    per_video: PerVideo = NO_FILTERS.per_video,
    folders: Folders = None,
    exclude: Exclude = None,
    since: Since = None,
    until: Until = None,
    between: Between = None,
    tag: WithTag = None,
    any_tag: AnyTag = None,
    no_tag: NoTag = None,
    tags_from: TagsFrom = NO_FILTERS.tags_from,
    min_score: MinScore = NO_FILTERS.min_score,
    online: Online = False,
    like: Like = None,
    refine: Refine = False,
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
    from vidfind.system.imports import import_numpy

    words = " ".join(query or []).strip()
    if query and not words:
        raise typer.BadParameter("QUERY is empty.")
    if words and like:
        raise typer.BadParameter(WHAT_TO_GIVE)
    if as_json and (as_paths or print0):
        raise typer.BadParameter(f"Give either --json or {'--print0' if print0 else '--paths'}.")
    if play is not None and not (words or like):
        raise typer.BadParameter("--open needs a query. When vidfind asks for queries, type the rank to play it.")
    filters = make_filters(
        folders or (),
        exclude or (),
        since,
        until,
        between,
        min_score=min_score,
        online=online,
        per_video=per_video,
        copies=copies,
        tags=tag or (),
        any_tags=any_tag or (),
        no_tags=no_tag or (),
        tags_from=tags_from,
    )
    form: Form = "json" if as_json else "print0" if print0 else "paths" if as_paths else "table"
    answers = Answers(filters, limit, form, refine)
    import_numpy()  # before anything else does
    atexit.register(_end_at_once)
    if not (words or like):
        answer_all(name, answers)
        return
    moments, find = find_moments(words, like, answers, name, device, dtype)
    answers.show(moments, find)
    if play is not None:
        play_moment(moments, play)


def find_moments(
    words: str, like: str | None, answers: Answers, name: str, device: str, dtype: str
) -> "tuple[Sequence[Moment], Find]":
    """Returns the moments for a query, or for what is like a file, and the way to search that found them."""
    from vidfind.media.read import is_picture
    from vidfind.search.expression import Expression, parse_like

    searcher, activity = open_searcher(name, device, dtype)
    with activity:
        expression = Expression(words, like=[parse_like(like)] if like else ())
        if any(is_picture(example.file) for example in expression.likes):
            activity.announce("A picture shows no motion: videos in which something moves may rank low.")
        find = functools.partial(searcher.find, expression)
        return answers.find(find), find


def make_filters(
    folders: Sequence[str],
    exclude: Sequence[str],
    since: str | None,
    until: str | None,
    between: tuple[str, str] | None,
    *,
    tags: Sequence[str] = (),
    any_tags: Sequence[str] = (),
    no_tags: Sequence[str] = (),
    **others: Any,
) -> Filters:
    """Returns the filters of the options; `others` are as they are given. Raises BadParameter for impossible ones."""
    if listed := next((name for name in tags if "," in name), None):
        raise typer.BadParameter(f"A tag has no comma. For one of them: --any-tag {listed}. For both: --tag twice.")
    others["tags"] = tuple(tags)
    others |= {
        option: tuple(name for names in given for name in names.split(","))
        for option, given in (("any_tags", any_tags), ("no_tags", no_tags))
    }
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
