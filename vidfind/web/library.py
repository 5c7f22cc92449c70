"""The videos that the page may show: those of the index, under names that say nothing of where they lie.

A file is opened only while it has the contents that were indexed: a link or another file that has taken its place is
not shown. Times are in seconds.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidfind.errors import BadInput
from vidfind.search.moments import Moment
from vidfind.search.searcher import Searcher
from vidfind.store.files import IndexedFiles, Opened, find_present_files
from vidfind.store.places.path import state_of_file
from vidfind.store.select import select_videos
from vidfind.store.settings import SETTINGS_FILE
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow, path_to_text
from vidfind.web.replies import MARK, NotHere, readable

ID_BYTES = 12
MOST_ROWS = 20_000
"""Videos that are kept as the index has them."""
MOMENT = re.compile(r"([0-9a-f]{24})\.(\d{1,10})-(\d{1,10})-(\d{1,10})", re.ASCII)
GONE = "The video is not in the index any more. Search again."
AWAY = "{name} is not there now. Connect its drive, or index the folder that it is in now."
CHANGED = "{name} has changed since it was indexed. Index its folder again."


@dataclass(frozen=True)
class Part:
    """A part of a video, and `at`, the middle of its best segment."""

    row: VideoRow
    start: float
    end: float
    at: float


class Library:
    """The videos of an index by their ids. Safe for many threads; a searcher answers one question at a time."""

    def __init__(self, searcher: Searcher, secret: str) -> None:
        """`secret` goes into the ids, so that nobody can tell from one if a path is in the index."""
        self.lock = threading.Lock()
        """To be held while the searcher is used."""
        self.searcher = searcher
        self._opening = threading.Lock()
        self._store: Store | None = None
        self._state: tuple[float, float] | None = None
        self._secret = secret.encode()
        self._known: dict[str, Path] = {}
        self._rows: dict[str, VideoRow] = {}
        self._version: tuple[int, ...] = ()
        self._has_all = False
        """Whether the ids of all videos of this version are known."""
        self._files = IndexedFiles()

    @property
    def store(self) -> Store:
        """The index as it is now, which no search keeps waiting. Raises IndexNotFound, IndexDamaged."""
        with self._opening:
            state = state_of_file(self.searcher.path / SETTINGS_FILE)
            if self._store is None or state != self._state:
                self._store, self._state = Store.open(self.searcher.path, copied=True), state
            return self._store

    # Ids

    def id_of(self, path: Path) -> str:
        """Returns the id of a video."""
        return hashlib.blake2b(path_to_text(path).encode(), digest_size=ID_BYTES, key=self._secret).hexdigest()

    def moment_id(self, moment: Moment) -> str:
        """Returns the id of a moment, which holds all there is to say of it."""
        times = "-".join(str(max(0, round(time * 1000))) for time in (moment.start, moment.end, moment.best))
        return f"{self.id_of(moment.path)}.{times}"

    def video(self, video_id: str) -> VideoRow:
        """Returns the video with an id. Raises NotHere if it is not in the index, or could not be read."""
        store = self._follow()
        row = self._rows.get(video_id)
        if row is None and (path := self._path(video_id, store)) is not None:
            row = self._read(store, [path]).get(path)
        if row is None or row.failed:
            raise NotHere(GONE)
        return row

    def part(self, moment_id: str) -> Part:
        """Returns the moment with an id. Raises NotHere, or BadInput for what is no id."""
        found = MOMENT.fullmatch(moment_id)
        if not found:
            raise BadInput(f"{moment_id[:80]!r} is not the id of a moment.")
        row = self.video(found[1])
        start, end, at = (int(time) / 1000 for time in found.groups()[1:])
        if not (start < end and start < row.duration and start <= at <= end):
            raise BadInput("The moment is not within its video.")
        return Part(row, start, min(end, row.duration), at)

    def rows_of(self, moments: Sequence[Moment]) -> dict[Path, VideoRow]:
        """Returns the videos of moments, and knows their ids from then on."""
        store = self._follow()
        paths = {moment.path for moment in moments}
        known = {path: row for path in paths if (row := self._rows.get(self.id_of(path)))}
        return {**known, **self._read(store, paths - known.keys())}

    def folder(self, shown: str) -> str:
        """Returns the path of a folder that is shown as this text, in which bytes that are no text are marks."""
        if MARK not in shown:
            return shown
        folders = (folder for path in select_videos(self.store).paths() for folder in path.parents)
        return next((os.fspath(folder) for folder in folders if readable(folder) == shown), shown)

    def _follow(self) -> Store:
        """Returns the index, and forgets what it held before its last change."""
        store = self.store
        if (version := store.version()) != self._version:
            self._version, self._rows, self._has_all = version, {}, False
        return store

    def _read(self, store: Store, paths: Collection[Path]) -> dict[Path, VideoRow]:
        """Returns videos by path, and keeps them until the index changes."""
        rows = store.videos_at(paths) if paths else {}
        if len(self._rows) > MOST_ROWS:
            self._rows = {}
        self._rows.update({self.id_of(path): row for path, row in rows.items()})
        self._known.update({self.id_of(path): path for path in rows})
        return rows

    def _path(self, video_id: str, store: Store) -> Path | None:
        """Returns the path of a video that may not have been shown yet."""
        if video_id not in self._known and not self._has_all:
            self._known = {self.id_of(path): path for path in select_videos(store).paths()}
            self._has_all = True
        return self._known.get(video_id)

    # Files

    def file(self, row: VideoRow) -> Path:
        """Returns the file of a video, or of a copy, that has the contents that were indexed. Raises NotHere."""
        opened, path = self.open(row)
        opened.file.close()
        return path

    def open(self, row: VideoRow) -> tuple[Opened, Path]:
        """Opens the file of a video, or of a copy where that is not there. Raises NotHere, also for other contents."""
        error = NotHere(AWAY.format(name=row.path.name))
        for one in self._with_copies(row):
            try:
                if one.path not in find_present_files([one]):
                    continue
                if opened := self._files.open(one):
                    return opened, one.path
            except OSError:
                continue
            if one is row:
                error = NotHere(CHANGED.format(name=row.path.name))
        raise error

    def _with_copies(self, row: VideoRow) -> Iterator[VideoRow]:
        yield row
        yield from (one for one in self.store.videos_of([row.content]) if one.path != row.path)


def seconds_in(text: str | None, usual: float, most: float) -> float:
    """Returns a time that was asked for, between 0 and `most`. Raises BadInput for what is no number."""
    if text is None:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(f"{text[:80]!r} is not a number of seconds.")
    return min(max(value, 0.0), most)
