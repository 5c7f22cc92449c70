"""The tools that an assistant can call. They read the index and its videos, and write nothing but clips.

The docstring of a tool, and the sentences about its parameters, are what the assistant reads. Times are in seconds.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, TypeVar

from anyio import from_thread
from mcp.server.mcpserver import Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from vidfind.assistants.answers import Found, FoundMoment, MadeClip, Status, Video
from vidfind.assistants.videos import example_of, file_of, find_video, plain_text
from vidfind.errors import BadInput, UnreadableVideo, VidfindError
from vidfind.export.clips import Failed, Written, export_clips, padded
from vidfind.export.wanted import Wanted
from vidfind.pictures.cache import PictureCache
from vidfind.search.moments import Moment
from vidfind.search.question.dates import EXAMPLES, parse_period
from vidfind.search.question.expression import Expression
from vidfind.search.question.filters import LIMIT, Filters
from vidfind.search.searcher import Searcher
from vidfind.store.files import IndexedFiles, find_present_files
from vidfind.store.places.path import IndexPath
from vidfind.store.status import index_status
from vidfind.store.store import Store
from vidfind.system.files import find_present
from vidfind.system.mistakes import mistake_sentence

MOST_MOMENTS = 100
MOST_PIXELS = 1568
"""Assistants make larger pictures smaller."""
LONGEST_CLIP = 600
"""Seconds. An assistant that has misread a time does not fill the disk."""
PROGRESS_SECONDS = 0.5
"""How often an assistant hears of the progress of a clip."""
INSTRUCTIONS = (
    "This searches the owner's own videos by what is to be seen in them. Search with a short description in English "
    "of what the picture shows, such as 'a dog catches a frisbee'; sound, speech and names are not searched. Look at "
    "moment_picture before you say what a moment shows: a search always finds something. Messages may name options of "
    "the command line: --not is the parameter `without`, --in is `folders`, --is is `classes`, others have the same "
    "name here. What is to be changed in the index, only the owner can change, with the command that the message names."
)

Tool = TypeVar("Tool", bound=Callable[..., Any])
WhyNothing = Callable[[Callable[..., Sequence[Moment]], Filters, Expression], str]
"""Says why a search found nothing."""
VideoPath = Annotated[str, Field(description="The path of a video, as `search` gives it.")]


def explained(tool: Tool) -> Tool:
    """Makes a tool give its errors to the assistant, with the remedy."""

    @functools.wraps(tool)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return tool(*arguments, **options)
        except VidfindError as error:
            raise ToolError(plain_text(error)) from error
        except OSError as error:  # a full disk, a folder that may not be read
            raise ToolError(plain_text(f"{error.filename}: {error.strerror}" if error.filename else error)) from error
        except Exception as error:
            raise ToolError(plain_text(mistake_sentence(error))) from error

    return call  # type: ignore[return-value]  # has the signature of the tool


class Tools:
    """The tools over one index. The index is opened by the first call, and then kept open."""

    def __init__(self, index: IndexPath, clips: Path | None, why_nothing: WhyNothing) -> None:
        self._index, self._clips, self._why_nothing = index, clips, why_nothing
        self._searcher: Searcher | None = None
        self._pictures, self._files = PictureCache(), IndexedFiles()
        self._searching, self._exporting = threading.Lock(), threading.Lock()
        """One search and one export at a time: each takes all cores."""
        self._is_stopping = threading.Event()

    @property
    def can_export(self) -> bool:
        """Whether there is a folder for clips."""
        return self._clips is not None

    def stop(self, seconds: float = 5.0) -> None:
        """Ends an export that is under way; no part of a file is left. Waits for that at most so many seconds."""
        self._is_stopping.set()
        if self._exporting.acquire(timeout=seconds):
            self._exporting.release()

    def _open(self) -> Searcher:
        """Raises IndexNotFound, as long as there is none."""
        self._searcher = self._searcher or Searcher(self._index)
        return self._searcher

    @property
    def _store(self) -> Store:
        return Store.open(self._index)

    @explained
    def search(
        self,
        query: Annotated[str, Field(description="What is to be seen, in plain English words.")] = "",
        limit: Annotated[int, Field(ge=1, le=MOST_MOMENTS, description="At most so many moments.")] = LIMIT,
        per_video: Annotated[int, Field(ge=1, description="At most so many moments of each video.")] = 1,
        without: Annotated[list[str], Field(description="Descriptions of what is not to be seen.")] = [],  # noqa: B006
        then: Annotated[
            list[str], Field(description="Descriptions of what comes next in the same video, step by step.")
        ] = [],  # noqa: B006
        within: Annotated[
            float | None,
            Field(ge=0, description="How many seconds after one step the next begins at most; 60 if null."),
        ] = None,
        like: Annotated[
            str | None,
            Field(description="A moment, PATH@SECONDS, that the results look like; with or without a query."),
        ] = None,
        folders: Annotated[
            list[str], Field(description="Only videos under these folders; patterns such as /**/trips work too.")
        ] = [],  # noqa: B006
        exclude: Annotated[
            list[str], Field(description="No videos under these folders, or with names such as '*.gif'.")
        ] = [],  # noqa: B006
        since: Annotated[str | None, Field(description=f"Only videos filmed since then: {EXAMPLES}.")] = None,
        until: Annotated[str | None, Field(description="Only videos filmed up to the end of that time.")] = None,
        tags: Annotated[list[str], Field(description="Only moments with all of these tags.")] = [],  # noqa: B006
        no_tags: Annotated[list[str], Field(description="No moments with one of these tags.")] = [],  # noqa: B006
        classes: Annotated[
            list[str], Field(description="Only moments that show all of these classes, such as pets:rex.")
        ] = [],  # noqa: B006
        min_match: Annotated[
            int, Field(ge=0, le=100, description="Only moments that the words fit by so many percent; 50 fits well.")
        ] = 0,
        online: Annotated[bool, Field(description="Only videos whose files are there now.")] = False,
    ) -> Found:
        """Find the moments of the owner's videos that show what a description says, best first.

        A moment is a part of a video, some seconds long. Give a query, or a moment in `like`, or both.
        """
        filters = Filters(
            folder=tuple(folders),
            exclude=tuple(exclude),
            since=parse_period(since).first if since else None,
            until=parse_period(until).last if until else None,
            tags=tuple(tags),
            no_tags=tuple(no_tags),
            classes=tuple(classes),
            min_match=min_match,
            online=online,
            per_video=per_video,
        )
        with self._searching, remarks_of_log() as remarks:
            searcher = self._open()
            likes = [example_of(searcher.store, like)] if like else []
            expression = Expression(query, without, then, likes, within=within)
            find = functools.partial(searcher.find, expression)
            moments = find(filters=filters, limit=limit)
            if not moments:
                remarks.append(self._why_nothing(find, filters, expression))
        if moments and all(one.fits_badly for one in moments):
            remarks.insert(0, "Nothing here fits well. These are the nearest.")
        return Found(
            moments=[FoundMoment.of(one) for one in moments], remarks=[*dict.fromkeys(map(plain_text, remarks))]
        )

    @explained
    def moment_picture(
        self,
        video: VideoPath,
        time: Annotated[float, Field(ge=0, allow_inf_nan=False, description="Seconds from the start of the video.")],
        size: Annotated[int, Field(ge=64, le=MOST_PIXELS, description="Pixels of the long side.")] = 768,
    ) -> Image:
        """Look at a video: the frame shown at a time, as a JPEG. Of a moment that was found, begin with `best`."""
        rows = find_video(self._store, video)
        if time > rows[0].duration:
            raise BadInput(
                f"{rows[0].path} is {rows[0].duration:g} seconds long: there is nothing at {time:g} seconds."
            )
        kept = self._pictures.kept(rows[0].fingerprint, time, size, near=0)  # also of a video that is not there now
        if kept:
            return Image(data=kept, format="jpeg")
        file = file_of(rows, self._files)
        try:
            return Image(data=self._pictures.picture(file, rows[0].fingerprint, time, size, near=0), format="jpeg")
        except UnreadableVideo as error:
            raise BadInput(f"{file} {error}.") from error

    @explained
    def video_details(self, video: VideoPath) -> Video:
        """Tell the length, size, date, tags and copies of a video."""
        store = self._store
        rows = find_video(store, video)
        return Video.of(rows, store, bool(find_present_files(rows[:1])))

    @explained
    def index_status(self) -> Status:
        """Tell what is indexed: folders, how many videos, tags, what could not be read, and what is being indexed."""
        store = self._store
        status = index_status(store)
        return Status.of(status, store, find_present({folder: folder for folder in status.folders}))

    @explained
    def export_clip(
        self,
        video: VideoPath,
        start: Annotated[
            float, Field(ge=0, allow_inf_nan=False, description="Where the clip begins in the video, in seconds.")
        ],
        end: Annotated[float, Field(allow_inf_nan=False, description="Where the clip ends in the video, in seconds.")],
        pad: Annotated[
            float, Field(ge=0, allow_inf_nan=False, description="Begin so much earlier and end so much later.")
        ] = 0.0,
        *,
        context: Context[Any, Any],
    ) -> MadeClip:
        """Write a part of a video as a new file, H.264 with sound, into the folder that the owner has chosen.

        The video stays as it is, and no file is overwritten.
        """
        assert self._clips
        if end <= start:
            raise BadInput(f"The clip would end, at {end:g} s, before it begins, at {start:g} s.")
        if end - start + 2 * pad > LONGEST_CLIP:
            raise BadInput(f"A clip is at most {LONGEST_CLIP} seconds long. Export a part of it.")
        wanted = padded([Wanted(file_of(find_video(self._store, video), self._files), start, end)], pad)
        with self._exporting, closing(export_clips(wanted, self._clips)) as events:
            told = 0.0
            for event in events:
                from_thread.check_cancelled()  # by the assistant
                if self._is_stopping.is_set():
                    raise BadInput("vidfind was stopped.")
                if isinstance(event, Failed):
                    raise BadInput(f"{event.wanted.path} {event.reason}.")
                if isinstance(event, Written):
                    made = event
                elif monotonic() - told > PROGRESS_SECONDS:
                    told = monotonic()
                    from_thread.run(context.report_progress, event.done, event.total)
        return MadeClip(
            clip=plain_text(os.path.abspath(made.path)), seconds=round(made.duration, 3), missing=round(made.missing, 3)
        )


@contextmanager
def remarks_of_log() -> Iterator[list[str]]:
    """Gives a list that gets what vidfind warns of meanwhile, in this thread."""
    remarks: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                remarks.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), logging.getLogger("vidfind")
    logger.addHandler(listener)
    try:
        yield remarks
    finally:
        logger.removeHandler(listener)
