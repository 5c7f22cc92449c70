"""Opens an index for searching and answers queries: the public way to search from Python."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vidfind.commands import index_command
from vidfind.errors import BadInput
from vidfind.models.load import load_choice
from vidfind.search.filters import LIMIT, NO_FILTERS, Filters
from vidfind.search.kept import Vector
from vidfind.search.like import like_vector
from vidfind.search.moments import Asked, Moment, search_moments
from vidfind.search.query import QueryEncoder
from vidfind.search.refine import refine_moment
from vidfind.store.folder import require_index
from vidfind.store.settings import SETTINGS_FILE, read_generation
from vidfind.store.store import Store
from vidfind.system.files import fingerprint
from vidfind.system.paths import DEFAULT_INDEX, index_path

if TYPE_CHECKING:
    from vidfind.encoders.encoder import EncoderLoader

log = logging.getLogger(__name__)


class Searcher:
    """Answers queries in one index. Models are loaded once, and changes by other processes are noticed.

    >>> from vidfind import Filters, Searcher
    >>> searcher = Searcher()
    >>> for moment in searcher.find("a red circle", limit=2):
    ...     print(moment.rank, moment.path.name)
    1 clip-...mp4
    2 clip-...mp4

    Keep it for many queries: the first takes a second or so, later ones a fraction of that. Filters narrow a search:

    >>> searcher.find("a red circle", Filters(folder="~/Videos", min_score=0.99))
    []
    """

    def __init__(
        self,
        index: str | Path = DEFAULT_INDEX,
        load_encoder: EncoderLoader = load_choice,
        announce: Callable[[str], None] = log.info,
    ) -> None:
        """`index` is the name of an index, or its folder as a Path. `announce` gets a line before a download begins.

        Raises IndexNotFound, IndexDamaged, IndexMismatch for an index of a newer vidfind, BadInput for what cannot be
        a name."""
        self._path = index_path(index) if isinstance(index, str) else index
        self._load_encoder, self._announce = load_encoder, announce
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        require_index(self._path)
        self._state = _state(self._path)
        self._generation = read_generation(self._path)
        self._store: Store | None = None
        self.encoder = QueryEncoder(self._path, self._generation, self._load_encoder, self._announce)

    @property
    def store(self) -> Store:
        """The index. Opened when it is first needed, which takes a part of a second."""
        with self._lock:
            if self._store is None:
                self._store = Store.open(self._path, self._generation)
            return self._store

    def prepare(self) -> None:
        """Loads now what the first query needs. Raises the errors of `find`."""
        self._open_ahead()
        self.encoder.prepare()
        assert self.store

    def find(
        self, query: str, filters: Filters = NO_FILTERS, limit: int = LIMIT, *, refine: bool = False
    ) -> list[Moment]:
        """The `limit` best moments for a query in plain words, best first.

        `refine`: look at the files again, to tell where each moment begins and ends more finely than by segments. That
        takes seconds for each moment, and the whole model.

        The first query takes a second or so, in which the model's text half is loaded. Raises BadInput for an empty
        query, an index without videos, or a folder without indexed videos; ModelUnavailable if the model is not here
        and cannot be downloaded; IndexNotFound if the index was deleted meanwhile."""
        self._follow_changes()
        self._open_ahead()
        return self.find_nearest(self.encoder.vector(query), filters, limit, refine=refine)

    def find_like(
        self,
        file: str | Path,
        time: float | None = None,
        filters: Filters = NO_FILTERS,
        limit: int = LIMIT,
        *,
        refine: bool = False,
    ) -> list[Moment]:
        """The `limit` moments most like a picture or a video, best first.

        >>> from vidfind import Searcher
        >>> Searcher().find_like("~/Videos/clip-03.mp4", time=1.5, limit=1)[0].path.name
        'clip-...mp4'

        `time`: look for what is like this second of the video; None: like all of the video. What was asked for is left
        out, in copies of the video too. The whole model is loaded, which takes seconds. Raises BadInput for a file that
        is neither, or a time outside the video, and what `find` raises."""
        vector, asked = self.example(file, time)
        return self.find_nearest(vector, filters, limit, asked, refine=refine)

    def example(self, file: str | Path, time: float | None = None) -> tuple[Vector, Asked]:
        """The vector of a picture or video for `find_nearest`, and the part of the index that it is itself.

        Raises what `find_like` raises."""
        self._follow_changes()
        length = self.store.settings.segment_length
        path = Path(os.path.expanduser(file))
        vector = like_vector(self.encoder.whole, path, time, length)
        return vector, Asked(frozenset(self.store.contents_like(fingerprint(path))), time, length)

    def find_nearest(
        self,
        vector: Vector,
        filters: Filters = NO_FILTERS,
        limit: int = LIMIT,
        asked: Asked | None = None,
        *,
        refine: bool = False,
    ) -> list[Moment]:
        """The `limit` best moments for a vector (D,) of unit length from the encoder of the index, best first.

        `asked` is left out; `refine` as for `find`. Raises BadInput for an index without videos, or a folder without
        indexed videos."""
        moments = search_moments(self.store, vector, filters, limit, asked)
        if not moments and not self.store.count_videos():
            raise BadInput(f"The index {self._path.name!r} holds no videos yet. Add some: {index_command(self._path)}")
        if refine:
            encoder, length = self.encoder.whole, self.store.settings.segment_length
            return [refine_moment(encoder, vector, moment, length) for moment in moments]
        return moments

    def _follow_changes(self) -> None:
        if _state(self._path) != self._state:  # another encoding is in use now, or another index, or none
            self._open()

    def _open_ahead(self) -> None:
        """Begins to open the index, which goes on while the query is read."""

        def open_store() -> None:
            with suppress(Exception):  # raised again where the store is used
                assert self.store

        if self._store is None:
            threading.Thread(target=open_store).start()


def _state(path: Path) -> tuple[int, int] | None:
    """A value that changes whenever another encoding, or another index, takes the place of the one at `path`."""
    try:
        stat = os.stat(path / SETTINGS_FILE)
        return stat.st_ino, stat.st_mtime_ns
    except FileNotFoundError:
        return None
