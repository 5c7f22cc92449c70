"""Answers queries one after another, from a prompt or a pipe, and plays the moments found."""

import functools
import io
import os
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from vidfind.cli.shared.indexing import loader_of
from vidfind.cli.shared.pictures import save_sheet, show_with_pictures
from vidfind.commands import status_command
from vidfind.errors import BadInput, ExitCode, Terminated, VidfindError
from vidfind.search.question.dates import parse_period
from vidfind.search.question.expression import WITHIN, Expression
from vidfind.search.question.filters import LIMIT, NO_FILTERS, Filters
from vidfind.store.places.path import index_path
from vidfind.system import paths
from vidfind.system.times import local_time

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.buffer import Buffer

    from vidfind.display.activity import Activity
    from vidfind.search.moments import Moment
    from vidfind.search.searcher import Searcher

# A longer number is a year, or something else to look for.
LONGEST_RANK = 3
LONGEST_HEADING = 200
WHAT_TO_GIVE = "Give words to look for, --like FILE, or both."
Form = Literal["table", "json", "paths", "print0"]
Find = Callable[..., "Sequence[Moment]"]
"""A way to search that takes `filters`, `limit` and `refine`, such as `Searcher.find` with its query."""
NARROWING = {
    "--since": "since",
    "--until": "until",
    "--between": "between",
    "--online": "online",
    "--exclude": "exclude",
    "--in": "folder",
    "--tag": "tags",
    "--any-tag": "any_tags",
    "--no-tag": "no_tags",
    "--is": "classes",
}
"""The filter of each option that leaves out videos."""


ENDING = {"quit", "exit", ":q", ":quit"}
HELPING = {"help", "?", ":help", ":h"}


def open_searcher(
    name: str, device: str = "auto", dtype: str = "auto", quiet: bool = False, repeats_remarks: bool = False
) -> "tuple[Searcher, Activity]":
    """Returns a searcher of an index, and the activity that shows its progress, unless `quiet`."""
    from vidfind.display.activity import Activity
    from vidfind.search.searcher import Searcher

    activity = Activity("Opening the index", enabled=not quiet)
    load = loader_of(activity, device, dtype)
    return Searcher(index_path(name), load, activity.announce, repeats_remarks), activity


@dataclass(frozen=True)
class Answers:
    """The filters and the form of the answers to all queries of a run."""

    filters: Filters = NO_FILTERS
    limit: int = LIMIT
    form: Form = "table"
    refine: bool = False
    pictures: bool = False
    sheet: Path | None = None
    """The file that a sheet of the moments is written to."""
    literal: bool = False
    """Whether the names of learned classes are words like others."""

    def filtered(self, **filters: Any) -> "Answers":
        """Returns these answers with other values of some filters."""
        return replace(self, filters=replace(self.filters, **filters))

    def find(self, find: Find) -> "Sequence[Moment]":
        """Returns the moments that a way to search finds."""
        return find(filters=self.filters, limit=self.limit, refine=self.refine)

    def show(
        self, moments: "Sequence[Moment]", find: Find, expression: Expression | None, query: str | None = None
    ) -> None:
        """Shows the moments of an expression, found with `find`. `query`: its line, where there are several."""
        from vidfind.display import console
        from vidfind.display.search import moment_json, show_moments

        if self.form != "json" and moments and all(one.fits_badly and not one.steps for one in moments):
            console.message("Nothing here fits well. The nearest:")
        if self.form == "json":
            words = (expression.words if expression else "") if query is None else query
            for moment in moments:
                console.json_line(({"query": words} if words else {}) | moment_json(moment))
        elif self.form in ("paths", "print0"):
            for path in dict.fromkeys(moment.path for moment in moments):
                console.path_line(path, ends_with_nul=self.form == "print0")
        elif moments:
            (show_with_pictures if self.pictures else show_moments)(moments, query)
        else:
            console.message(why_nothing(find, self.filters, expression))
        if moments and self.sheet:
            save_sheet(moments, query or (expression.words if expression else ""), self.sheet)


def why_nothing(find: Find, filters: Filters, expression: Expression | None) -> str:
    """Returns why nothing is found: the first filter without which there would be something, and the best there is."""
    filters = replace(filters, collapse=False)
    if filters == NO_FILTERS and expression is not None and expression.then:
        within = WITHIN if expression.within is None else expression.within
        return f"No video has {len(expression.steps)} segments that follow one another within {within:g} seconds."
    if filters == NO_FILTERS:
        return f"Nothing found. See what is indexed: {status_command()}"
    if filters.min_match and (found := find(filters=replace(filters, min_match=0), limit=LIMIT)):
        return f"Nothing matches by {filters.min_match} %: the best is {max(one.match or 0 for one in found)} %."
    filters = replace(filters, min_match=0)
    if best := find(filters=replace(filters, min_score=NO_FILTERS.min_score), limit=1):
        return f"No moment passes --min-score {filters.min_score:g} (best here: {best[0].score:.3f})."
    filters = replace(filters, min_score=NO_FILTERS.min_score)
    given = {option: name for option, name in NARROWING.items() if getattr(filters, name) != getattr(NO_FILTERS, name)}
    for option, name in given.items():
        if best := find(filters=replace(filters, **{name: getattr(NO_FILTERS, name)}), limit=1):
            day = local_time(best[0].created).date()
            return f"Nothing passes {option}. Without it, the best is {best[0].path.name}, filmed on {day}."
    return f"Nothing found. No video passes {', '.join(given)} together." if len(given) > 1 else "Nothing found."


def moment_of_rank(moments: "Sequence[Moment]", rank: int, use: str = "") -> "Moment":
    """Returns the result of a rank. Raises BadInput if there is no such result; `use` says what it was wanted for."""
    from vidfind.display.text import plural

    if not 1 <= rank <= len(moments):
        raise BadInput(f"There is no result {rank}{use}: {plural(len(moments), 'moment')} found.")
    return moments[rank - 1]


def play_moment(moments: "Sequence[Moment]", rank: int) -> None:
    """Starts a player. Raises BadInput if there is no such result, or nothing to play it with."""
    moment = moment_of_rank(moments, rank, " to open")
    play_file(moment.path, moment.start)


def play_file(path: Path, start: float) -> None:
    """Starts a player at a time in seconds, and says so. Raises BadInput if there is nothing to play it with."""
    from vidfind.display import console
    from vidfind.system import player
    from vidfind.system.times import clock

    played = player.play(path, start)
    if played.at_moment:
        console.message(f"Playing {path.name} from {clock(start)}.")
    else:
        console.message(
            f"Playing {path.name} from the beginning, as this player cannot do otherwise: go to {clock(start)}. With "
            "mpv or VLC installed, it would start there."
        )
    if played.said:
        console.message(f"The player has ended already. It said: {played.said}")


ReadLine = Callable[[str, Answers, "Sequence[Moment]"], tuple[Expression | None, Answers]]
"""Returns what a line looks for, and the answers it wants; the moments are those that a number in it counts."""


def answer_all(name: str, answers: Answers, read_line: ReadLine) -> None:
    """Answers the queries typed at a prompt, or each line of a pipe."""
    if sys.stdin is not None and sys.stdin.isatty():
        answer_prompt(name, answers, read_line)
    else:
        _answer_lines(name, answers, read_line)


def _answer_lines(name: str, answers: Answers, read_line: ReadLine) -> None:
    """Answers each line. After an error in one line it continues, and ends with exit code 1."""
    from vidfind.display import console
    from vidfind.display.text import printable

    searcher = None
    failed = False
    for query in _lines():
        searcher = searcher or open_searcher(name, quiet=True)[0]
        if answers.form == "table":
            console.heading(printable(textwrap.shorten(query, LONGEST_HEADING, placeholder=" …")))
        try:
            expression, wanted = read_line(query, answers, ())
            find = functools.partial(searcher.find, expression)
            wanted.show(wanted.find(find), find, expression, query)
        except VidfindError as error:
            console.error(error)
            failed = True
    if searcher is None and answers.filters.names_moments:
        find = functools.partial(open_searcher(name, quiet=True)[0].find, None)
        answers.show(answers.find(find), find, None)
    elif searcher is None:
        console.message(f"No query came in. {WHAT_TO_GIVE}")
    if failed:
        raise typer.Exit(ExitCode.ERROR)


def _lines() -> Iterator[str]:
    """Yields the lines of stdin that are not empty."""
    if sys.stdin is None:  # closed by the caller
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        if query := line.strip():
            yield query


def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise BadInput(f":n takes a whole number of 1 or more, not {text!r}.")
    return int(text)


def _score(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadInput(f":score takes a number, not {text!r}.") from error


def _is_on(text: str) -> bool:
    if text not in ("", "on", "off"):
        raise BadInput(f":pictures takes on or off, not {text!r}.")
    return text == "on"


def _day(text: str, which: str) -> date | None:
    """Returns the first or last day of a period; None for no text."""
    return getattr(parse_period(text), which) if text else None


SETTINGS: dict[str, tuple[str, str, Callable[["Answers", str], "Answers"]]] = {
    ":n": ("COUNT", "shows so many moments", lambda now, text: replace(now, limit=_whole(text or str(LIMIT)))),
    ":in": ("FOLDER", "looks only there", lambda now, text: now.filtered(folder=text or None)),
    ":since": ("DATE", "from then on", lambda now, text: now.filtered(since=_day(text, "first"))),
    ":until": ("DATE", "until then", lambda now, text: now.filtered(until=_day(text, "last"))),
    ":tag": ("TAG", "only with this tag", lambda now, text: now.filtered(tags=(text,) if text else ())),
    ":is": ("CLASS", "only of this class", lambda now, text: now.filtered(classes=(text,) if text else ())),
    ":pictures": ("on", "shows a picture of each", lambda now, text: replace(now, pictures=_is_on(text))),
    ":score": ("NUMBER", "at least so alike", lambda now, text: now.filtered(min_score=_score(text or "-1"))),
}
"""The settings of the prompt, which last until it ends; alone, each word goes back to what is usual."""


def _help() -> str:
    words = ", ".join(f"{word} {value} {what}" for word, (value, what, _) in SETTINGS.items())
    return (
        "Type what you remember, in plain words; a number plays that result. Behind the words: --not WORDS leaves out, "
        "--then WORDS comes next (--within 30s), --like NUMBER or FILE is like it, and all options "
        f"that narrow a search. Until the end: {words}; each alone takes that back. quit, an empty line or Ctrl-D ends."
    )


def change_answers(answers: "Answers", line: str) -> "Answers":
    """Returns the answers as a line such as `:n 20` changes them. Raises BadInput for one that makes no sense."""
    word, _, value = line.partition(" ")
    if word not in SETTINGS:
        raise BadInput(f"There is no {word} here. Type ? for what there is.")
    return SETTINGS[word][2](answers, value.strip())


def answer_prompt(name: str, answers: Answers, read_line: ReadLine) -> None:
    """Asks for queries. A number plays a result, Ctrl-C clears the line or stops a search; an empty line ends."""
    from vidfind.display import console
    from vidfind.display.activity import Activity

    searcher, _ = open_searcher(name, quiet=True)  # says which index is missing before anything is asked

    def prepare() -> None:
        with suppress(Exception):  # the first query raises it again
            searcher.prepare()

    preparing = threading.Thread(target=prepare, daemon=True)
    preparing.start()  # while the first query is typed
    prompt = make_prompt(searcher.owner_words)

    def read_ahead(line: "Buffer") -> None:
        words, _, _ = line.text.partition(" --")
        if not preparing.is_alive() and not words.startswith((":", "-")):
            searcher.read_ahead(words)

    prompt.default_buffer.on_text_changed += read_ahead
    console.message(
        "Type what you remember. A number plays that result, --like NUMBER finds more like it, --not WORDS leaves out."
        " ? says more, Ctrl-D ends"
    )
    moments: Sequence[Moment] = []
    with typing_ahead():
        while (query := _ask(prompt)) and query not in ENDING:
            try:
                if query in HELPING:
                    console.message(_help())
                    continue
                if query.startswith(":"):
                    answers = change_answers(answers, query)
                    continue
                if query.isdecimal() and len(query) <= LONGEST_RANK:
                    if not moments:
                        raise BadInput("Nothing is found yet that a number could play: type what you look for.")
                    play_moment(moments, int(query))
                    continue
                expression, wanted = read_line(query, answers, moments)
                with Activity("Opening the index", enabled=preparing.is_alive()):
                    preparing.join()
                    find = functools.partial(searcher.find, expression)
                    moments = wanted.find(find)
                wanted.show(moments, find, expression)
            except VidfindError as error:
                console.error(error)
            except Terminated:
                raise
            except KeyboardInterrupt:
                console.message("Stopped.")


@contextmanager
def typing_ahead() -> Iterator[None]:
    """Keeps what is typed between two prompts for the next one; only Ctrl-C and Ctrl-Z act at once.

    Otherwise the terminal would show it among the results, and lose Ctrl-D."""
    if os.name == "nt" or sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin, termios.TCSANOW)  # the default would discard what is already typed
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _ask(prompt: "PromptSession[str]") -> str:
    """Returns the next line; empty at the end."""
    from prompt_toolkit.patch_stdout import patch_stdout

    while True:
        try:
            with patch_stdout(raw=True):  # messages of loading appear above the line
                return prompt.prompt("vidfind> ").strip()
        except Terminated:
            raise
        except KeyboardInterrupt:
            continue
        except EOFError:
            return ""


def make_prompt(words: Sequence[str] = ()) -> "PromptSession[str]":
    """Returns an input line on stderr; the arrow keys bring back earlier queries, and Tab completes `words`."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.output import create_output

    file = paths.home() / "history"
    with suppress(OSError):
        file.touch(0o600)  # nobody else may read what somebody searched for
    can_keep = os.access(file if file.exists() else file.parent, os.W_OK)
    stream = sys.stderr if sys.stderr and sys.stderr.isatty() else None
    return PromptSession(
        history=FileHistory(file) if can_keep else InMemoryHistory(),
        output=create_output(stream, always_prefer_tty=True),
        enable_suspend=True,  # Ctrl-Z, as in every command
        completer=WordCompleter(list(words), ignore_case=True),
        complete_while_typing=False,
    )
