"""`vidfind search`: one query, the lines of a pipe, or a prompt; parse, ask the searcher, hand the answer to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import atexit
import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfind.cli.options import Device, Dtype, IndexName, Json, Verbose
from vidfind.cli.prompt import WHAT_TO_GIVE, Answers, answer_all, open_searcher, play_moment
from vidfind.errors import BadInput
from vidfind.system import paths

if TYPE_CHECKING:
    from vidfind.search.moments import Moment
    from vidfind.search.searcher import Searcher


def search_command(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY", help="What to look for, in plain words. [default: ask for one after the other]"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="COUNT", min=1, help="How many moments to show. [default: 10]"),
    ] = None,
    per_video: Annotated[
        int | None, typer.Option(metavar="COUNT", min=1, help="At most this many moments of a video. [default: 1]")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--in", metavar="FOLDER", help="Only videos under this folder, or this video.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only videos of this day or later: 2024, 2024-05, 2024-05-17.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only videos of this day, month or year, or earlier.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Only moments that score at least this.")
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Only videos whose files are there now.")] = False,
    like: Annotated[
        str | None,
        typer.Option(metavar="FILE[@TIME]", help="Look for what is like a picture, a video, or its moment at 1:23."),
    ] = None,
    as_json: Json = False,
    as_paths: Annotated[bool, typer.Option("--paths", help="Print the path of each video found, and no more.")] = False,
    play: Annotated[
        int | None, typer.Option("--open", metavar="RANK", min=1, help="Play the moment of this rank.")
    ] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    verbose: Verbose = False,
) -> None:
    """Find the moments that a query describes, best first.

    Without a query, ask for one after the other until Ctrl-D or an empty line; a number plays the result of that rank.
    From a pipe, each line is a query.

    \b
    Example:
      vidfind search "dog catching frisbee" --in ~/Videos/2024 --open 1
    """
    from vidfind.system.imports import import_numpy

    words = " ".join(query or []).strip()
    if (query and not words) or (words and like):
        raise typer.BadParameter(WHAT_TO_GIVE)
    if as_json and as_paths:
        raise typer.BadParameter("Give either --json or --paths.")
    if play is not None and not (words or like):
        raise typer.BadParameter("--open needs a query. When vidfind asks for queries, type the rank to play it.")
    import_numpy()  # before anything else does
    atexit.register(_end_at_once)
    given = {"limit": limit, "per_video": per_video, "folder": folder, "min_score": min_score, "online": online or None}
    filters = {key: value for key, value in given.items() if value is not None} | _days(since, until)
    answers = Answers(filters, as_json, as_paths)
    if not (words or like):
        answer_all(name, answers)
        return
    searcher, activity = open_searcher(name, device, dtype)
    with activity:
        moments = _find_like(searcher, like, filters) if like else searcher.find(words, **filters)
    answers.show(moments)
    if play is not None:
        play_moment(moments, play)


def _days(since: str | None, until: str | None) -> dict[str, Any]:
    """The filters by date. Raises BadParameter."""
    from vidfind.search.filters import parse_period

    days: dict[str, Any] = {}
    try:
        if since is not None:
            days["since"] = parse_period(since)[0]
        if until is not None:
            days["until"] = parse_period(until)[1]
            if days.get("since", days["until"]) > days["until"]:
                raise BadInput(
                    f"Nothing was filmed from {since} on and up to {until}: --until must not be the earlier one."
                )
    except BadInput as error:
        raise typer.BadParameter(str(error)) from error
    return days


def _find_like(searcher: "Searcher", like: str, filters: Mapping[str, Any]) -> "list[Moment]":
    from vidfind.search.like import like_vector, parse_like

    example = parse_like(like)
    length = searcher.store.settings.segment_length
    return searcher.find_nearest(like_vector(searcher.encoder.whole, *example, length), **filters)


# Many queries


def _end_at_once() -> None:
    """Spares Python to look for cycles in all that was imported before it ends, which takes 200 ms.

    Libraries that come with PyTorch would complain that they are still there."""
    if "torch" not in sys.modules:
        gc.freeze()
