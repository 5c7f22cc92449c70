"""`vidfind search`: one query, the lines of a pipe, or a prompt; parse, ask the searcher, hand the answer to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import atexit
import gc
import io
import os
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidfind.cli.index import loader_of
from vidfind.cli.options import IndexName, Json, Verbose
from vidfind.errors import BadInput, VidfindError
from vidfind.system import paths

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from vidfind.display.console import Activity
    from vidfind.search.moments import Moment
    from vidfind.search.query import Searcher

# A longer number is a year, or something else to look for.
LONGEST_RANK = 3
LONGEST_HEADING = 200
WHAT_TO_GIVE = "Give either words to look for, or --like FILE."


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
    device: Annotated[
        Literal["auto", "cuda", "mps", "cpu"], typer.Option(help="For --like: where the model runs.")
    ] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="For --like: the numbers it computes with.")
    ] = "auto",
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
    from vidfind.search.moments import parse_period

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


def open_searcher(
    name: str, device: str = "auto", dtype: str = "auto", quiet: bool = False
) -> "tuple[Searcher, Activity]":
    """What answers queries in an index, and what shows meanwhile that it is at work, but when `quiet`."""
    from vidfind.display import console as display
    from vidfind.search.query import Searcher

    activity = display.Activity("Starting", enabled=not quiet)
    return Searcher(paths.index_path(name), loader_of(activity, device, dtype), activity.announce), activity


def _find_like(searcher: "Searcher", like: str, filters: Mapping[str, Any]) -> "list[Moment]":
    from vidfind.search import moments as search

    example = search.parse_like(like)
    length = searcher.store.settings.segment_length
    return searcher.find_nearest(search.like_vector(searcher.encoder.whole, *example, length), **filters)


@dataclass(frozen=True)
class Answers:
    """How what is found is shown."""

    filters: Mapping[str, Any] = field(default_factory=dict)
    as_json: bool = False
    as_paths: bool = False

    def show(self, moments: "Sequence[Moment]", query: str | None = None) -> None:
        """`query`: where there are several, the one that was asked."""
        from vidfind.display import console as display

        if self.as_json:
            for moment in moments:
                display.json_line(({"query": query} if query is not None else {}) | vars(moment))
        elif self.as_paths:
            for path in dict.fromkeys(moment.path for moment in moments):
                display.path_line(path)
        elif moments:
            display.show_moments(moments)
        else:
            display.message(
                "Nothing found. " + ("Loosen the filters?" if self.filters else "See what is indexed: vidfind status")
            )


def play_moment(moments: "Sequence[Moment]", rank: int) -> None:
    """Starts a player. Raises BadInput if there is no such result, or nothing to play it with."""
    from vidfind.display import console as display
    from vidfind.system import player
    from vidfind.system.times import clock

    if not 1 <= rank <= len(moments):
        raise BadInput(f"There is no result {rank} to open: {display.plural(len(moments), 'moment')} found.")
    moment = moments[rank - 1]
    if player.play(moment.path, moment.start) is None:
        display.message(
            f"The system's own player starts at the beginning: go to {clock(moment.start)}. "
            "With mpv or VLC installed, it would start there."
        )


# Many queries


def _end_at_once() -> None:
    """Spares Python to look for cycles in all that was imported before it ends, which takes 200 ms.

    Libraries that come with PyTorch would complain that they are still there."""
    if "torch" not in sys.modules:
        gc.freeze()


def answer_all(name: str, answers: Answers) -> None:
    """Answers what is typed at a prompt, or each line of a pipe."""
    if sys.stdin is not None and sys.stdin.isatty():
        answer_prompt(name, answers)
    else:
        _answer_lines(name, answers)


def _answer_lines(name: str, answers: Answers) -> None:
    """An error in one line does not keep the others from being answered; it ends with 1 afterwards."""
    from vidfind.display import console as display

    searcher = None
    failed = False
    for query in _lines():
        searcher = searcher or open_searcher(name, quiet=True)[0]
        if not (answers.as_json or answers.as_paths):
            display.heading(display.printable(textwrap.shorten(query, LONGEST_HEADING, placeholder=" …")))
        try:
            answers.show(searcher.find(query, **answers.filters), query)
        except VidfindError as error:
            display.error(error)
            failed = True
    if searcher is None:
        raise typer.BadParameter(WHAT_TO_GIVE)
    if failed:
        raise typer.Exit(1)


def _lines() -> Iterator[str]:
    """Those of stdin that are not empty."""
    if sys.stdin is None:  # closed by the caller
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        if query := line.strip():
            yield query


def answer_prompt(name: str, answers: Answers) -> None:
    """A number plays a result, Ctrl-C clears the line or stops a search, Ctrl-D or an empty line ends."""
    from vidfind.display import console as display

    searcher, _ = open_searcher(name, quiet=True)  # says which index is missing before anything is asked

    def prepare() -> None:
        with suppress(Exception):  # the first query raises it again
            searcher.prepare()

    preparing = threading.Thread(target=prepare, daemon=True)
    preparing.start()  # while the first query is typed
    prompt = make_prompt()
    display.message("Type what you remember; a number plays that result. Ctrl-D or an empty line ends.")
    moments: Sequence[Moment] = []
    with typing_ahead():
        while query := _ask(prompt):
            try:
                if moments and query.isdecimal() and len(query) <= LONGEST_RANK:
                    play_moment(moments, int(query))
                    continue
                with display.Activity("Starting", enabled=preparing.is_alive()):
                    preparing.join()
                    moments = searcher.find(query, **answers.filters)
                answers.show(moments)
            except VidfindError as error:
                display.error(error)
            except KeyboardInterrupt:
                display.message("Stopped.")


@contextmanager
def typing_ahead() -> Iterator[None]:
    """What is typed between two prompts waits for the next as it is; only Ctrl-C and Ctrl-Z act at once.

    A terminal by itself would show it among the results, and lose Ctrl-D, as no end of a line is being read."""
    if os.name == "nt" or sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin, termios.TCSANOW)  # the default would throw away what is typed already
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _ask(prompt: "PromptSession[str]") -> str:
    """The next line; empty at the end."""
    from prompt_toolkit.patch_stdout import patch_stdout

    while True:
        try:
            with patch_stdout(raw=True):  # what the loading has to say goes above the line
                return prompt.prompt("vidfind> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return ""


def make_prompt() -> "PromptSession[str]":
    """A line to type into, on stderr, with the queries of earlier times under the arrow keys."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.output import create_output

    file = paths.home() / "history"
    with suppress(OSError):
        file.touch(0o600)  # what somebody looks for is nobody else's business
    can_keep = os.access(file if file.exists() else file.parent, os.W_OK)
    stream = sys.stderr if sys.stderr and sys.stderr.isatty() else None
    return PromptSession(
        history=FileHistory(file) if can_keep else InMemoryHistory(),
        output=create_output(stream, always_prefer_tty=True),
        enable_suspend=True,  # Ctrl-Z, as in every command
    )
