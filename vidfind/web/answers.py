"""Answers a query of the page: a screenful of moments at a time, for as long as somebody scrolls.

Times are in seconds.
"""

from __future__ import annotations

import contextvars
import dataclasses
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from starlette.datastructures import QueryParams

from vidfind.errors import BadInput
from vidfind.search.moments import Moment
from vidfind.search.question.dates import parse_period
from vidfind.search.question.expression import Example, Expression, plain_words
from vidfind.search.question.filters import NO_FILTERS, Filters
from vidfind.store.select import find_content
from vidfind.store.tables import VideoRow
from vidfind.web.library import Library
from vidfind.web.replies import readable

ReadQuery = Callable[[str, Filters, Sequence[Example]], tuple[Expression | None, Filters]]
"""Returns what a line looks for, together with examples, and the filters: those given, but for the options in it."""
PAGE = 60
MOST_A_PAGE = 200
MOST_RESULTS = 10_000
LOOK_AHEAD = 2
"""So many times more moments than were asked for are found at once when somebody scrolls."""
LONGEST_QUERY = 2000
KEPT_ANSWERS = 8
"""Answers whose moments are kept, so that scrolling through them repeats no search."""
Plays = Literal["direct", "converted", "still"]
DIRECT: Mapping[str, frozenset[str]] = {
    ".mp4": frozenset({"h264", "av1", "vp9"}),
    ".m4v": frozenset({"h264", "av1", "vp9"}),
    ".mov": frozenset({"h264"}),
    ".webm": frozenset({"vp8", "vp9", "av1"}),
}
"""The codecs that every browser plays, by the ending of a name."""
NO_FILES = "Here, --like and --unlike take videos of the index. Drop another picture or clip on the page."


@dataclass(frozen=True)
class Question:
    """A query of the page with its filters, as they come in an address."""

    expression: Expression | None
    filters: Filters


@dataclass
class Answer:
    """The moments found for a question so far, best first."""

    moments: list[Moment]
    remarks: list[str]
    is_complete: bool
    """Whether there are no more."""


class Answers:
    """Finds moments, and keeps those of the last questions."""

    def __init__(self, library: Library, read_query: ReadQuery) -> None:
        self._library, self._read_query = library, read_query
        self._kept: OrderedDict[str, Answer] = OrderedDict()

    def question(self, asked: QueryParams, likes: Sequence[Example] = ()) -> Question:
        """Returns what an address asks for. Raises BadInput for what makes no sense."""
        query = asked.get("q", "")
        if len(query) > LONGEST_QUERY:
            raise BadInput(f"The query is too long. Use at most {LONGEST_QUERY:,} characters.")
        filters = read_filters(asked, self._library.folder)
        if likes and not plain_words(query):
            return Question(Expression(like=likes), filters)
        expression, filters = self._read_query(query, filters, likes)
        for example in (*expression.likes, *expression.unlikes) if expression else ():
            if example not in likes and find_content(self._library.store, example.file) is None:
                raise BadInput(NO_FILES)
        return Question(expression, filters)

    def find(self, question: Question, offset: int, limit: int) -> tuple[Answer, int]:
        """Returns the answer to a question with at least `limit` moments from `offset` on, if there are so many.

        Also returns how many moments there are, as far as is known: one more than found, while there are more."""
        with self._library.lock:
            key = repr(question)
            answer = self._kept.get(key)
            wanted = min(offset + limit, MOST_RESULTS)
            if answer is None or not offset:
                answer = self._search(question, wanted + 1)
            elif len(answer.moments) <= wanted and not answer.is_complete:
                more = self._search(question, min(wanted * LOOK_AHEAD, MOST_RESULTS) + 1)
                answer = _continued(answer, more)
            self._kept[key] = answer
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_ANSWERS:
                self._kept.popitem(last=False)
        return answer, min(len(answer.moments), MOST_RESULTS)

    def _search(self, question: Question, limit: int) -> Answer:
        with collecting_remarks() as remarks:
            moments = self._library.searcher.find(question.expression, question.filters, limit)
        return Answer(list(moments), list(dict.fromkeys(remarks)), len(moments) < limit)

    def moments_of(self, question: Question, row: VideoRow) -> list[Moment]:
        """Returns all moments of one video for a question, best first."""
        filters = dataclasses.replace(question.filters, folder=(row.path,), per_video=MOST_A_VIDEO, copies=True)
        with self._library.lock, collecting_remarks():
            found = self._library.searcher.find(question.expression, filters, MOST_A_VIDEO)
        return [moment for moment in found if moment.path == row.path]

    # As JSON

    def page(self, asked: QueryParams, likes: Sequence[Example] = ()) -> dict[str, Any]:
        """Returns the answer of `api/search`."""
        offset = whole_in(asked, "offset", 0, MOST_RESULTS)
        limit = whole_in(asked, "limit", PAGE, MOST_A_PAGE)
        question = self.question(asked, likes)
        answer, total = self.find(question, offset, limit)
        shown = answer.moments[offset : min(offset + limit, MOST_RESULTS)]
        return {
            "query": asked.get("q", ""),
            "remarks": [readable(remark) for remark in answer.remarks],
            "nothing_fits": bool(answer.moments) and all(one.fits_badly and not one.steps for one in answer.moments),
            "total": total,
            "results": self.moments_json(shown),
        }

    def moments_json(self, moments: Sequence[Moment]) -> list[dict[str, Any]]:
        """Returns moments for JSON, without those whose video has left the index meanwhile."""
        rows = self._library.rows_of(moments)
        return [self._moment_json(moment, rows[moment.path]) for moment in moments if moment.path in rows]

    def _moment_json(self, moment: Moment, row: VideoRow) -> dict[str, Any]:
        return {
            "id": self._library.moment_id(moment),
            "video": self._library.id_of(moment.path),
            "name": readable(moment.path.name),
            "folder": folder_text(moment.path),
            "path": readable(moment.path),
            "start": round(moment.start, 3),
            "end": round(moment.end, 3),
            "at": round(moment.best, 3),
            "match": moment.match,
            "score": round(moment.score, 4),
            "created": moment.created,
            "duration": round(moment.duration, 3),
            "tags": [*moment.tags, *(f"~{name}" for name in moment.tags_auto)],
            "present": moment.online,
            "plays": plays(row),
        }


MOST_A_VIDEO = 500


def plays(row: VideoRow) -> Plays:
    """Returns how a browser can show a video: as it is, or made into what it knows on the way."""
    ending = row.path.suffix.lower()
    return "direct" if row.codec in DIRECT.get(ending, ()) else "converted"


def read_filters(asked: QueryParams, folder: Callable[[str], str]) -> Filters:
    """Returns the filters of an address; `folder` returns the path of one that is shown. Raises BadInput."""
    since, until = asked.get("since"), asked.get("until")
    return Filters(
        folder=tuple(map(folder, filter(None, asked.getlist("in")))) or None,
        since=parse_period(since).first if since else None,
        until=parse_period(until).last if until else None,
        tags=tuple(filter(None, asked.getlist("tag"))),
        no_tags=tuple(filter(None, asked.getlist("no_tag"))),
        classes=tuple(filter(None, asked.getlist("is"))),
        min_match=whole_in(asked, "min_match", NO_FILTERS.min_match, 100),
    )


def whole_in(asked: Mapping[str, str], name: str, usual: int, most: int) -> int:
    """Returns a whole number from 0 to `most` that is asked for; `usual` if none is.

    Raises BadInput for what is no such number."""
    text = asked.get(name)
    if not text:
        return usual
    if not (text.isdecimal() and text.isascii() and len(text) < 10):
        raise BadInput(f"{name} takes a whole number, not {text[:80]!r}.")
    return min(int(text), most)


def folder_text(path: Path) -> str:
    """Returns the folder of a video as people write it, with `~` for the home folder."""
    home, folder = Path(os.path.expanduser("~")), path.parent
    return readable(Path("~", folder.relative_to(home)) if folder.is_relative_to(home) else folder)


def _continued(answer: Answer, more: Answer) -> Answer:
    """Returns the moments shown before, and those found now behind them: what is on the screen stays in its place."""
    seen = {(one.path, one.start, one.end) for one in answer.moments}
    new = [one for one in more.moments if (one.path, one.start, one.end) not in seen]
    return Answer([*answer.moments, *new], answer.remarks, more.is_complete)


_remarks: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("remarks", default=None)


class _Collector(logging.Handler):
    """Keeps warnings for the one whose query they are about."""

    def emit(self, record: logging.LogRecord) -> None:
        if (remarks := _remarks.get()) is not None:
            remarks.append(record.getMessage())


def _is_about_no_query(record: logging.LogRecord) -> bool:
    """Whether a record is to be shown in the terminal."""
    return _remarks.get() is None or record.levelno < logging.WARNING


@contextmanager
def collecting_remarks() -> Iterator[list[str]]:
    """Yields a list that gets the warnings of this thread instead of the terminal."""
    remarks: list[str] = []
    before = _remarks.set(remarks)
    try:
        yield remarks
    finally:
        _remarks.reset(before)


@contextmanager
def remarks_for_the_page() -> Iterator[None]:
    """Lets `collecting_remarks` work in all threads meanwhile."""
    logger, collector = logging.getLogger("vidfind"), _Collector(logging.WARNING)
    others = list(logger.handlers)
    for handler in others:
        handler.addFilter(_is_about_no_query)
    logger.addHandler(collector)
    try:
        yield
    finally:
        logger.removeHandler(collector)
        for handler in others:
            handler.removeFilter(_is_about_no_query)
