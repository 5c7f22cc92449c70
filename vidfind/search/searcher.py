"""Opens an index for searching and answers queries: the public way to search from Python."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.commands import index_option
from vidfind.errors import BadInput
from vidfind.models import load as registry
from vidfind.search.kept import Vector
from vidfind.search.moments import Moment, search_moments
from vidfind.search.query import QueryEncoder
from vidfind.store.folder import require_index
from vidfind.store.settings import SETTINGS_FILE, read_generation
from vidfind.store.store import Store

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

log = logging.getLogger(__name__)


class Searcher:
    """Answers queries in one index with what is loaded once, and sees what other processes change in it meanwhile.

    searcher = Searcher(index_path("default"))
    moments = searcher.find("dog catching frisbee", limit=3)
    """

    def __init__(
        self,
        path: Path,
        load_encoder: Callable[..., Encoder] = registry.load_encoder,
        announce: Callable[[str], None] = log.info,
    ) -> None:
        """`announce` is told, in a line, before a download begins.

        Raises IndexNotFound, IndexDamaged, IndexMismatch."""
        self._path, self._load_encoder, self._announce = path, load_encoder, announce
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
        """The index, opened when it is first needed, which takes a part of a second."""
        with self._lock:
            if self._store is None:
                self._store = Store.open(self._path, self._generation)
            return self._store

    def prepare(self) -> None:
        """Loads now what the first query needs. Raises what that would."""
        self._open_ahead()
        self.encoder.prepare()
        assert self.store

    def find(self, query: str, **filters: Any) -> list[Moment]:
        """The best moments for a query in words; `filters` as `search_moments` takes them.

        Raises BadInput for an empty query or index, and what loading a model and opening an index may raise."""
        if _state(self._path) != self._state:  # another encoding is in use now, or another index, or none
            self._open()
        self._open_ahead()
        return self.find_nearest(self.encoder.vector(query), **filters)

    def find_nearest(self, vector: Vector, **filters: Any) -> list[Moment]:
        """The best moments for a vector (D,)."""
        moments = search_moments(self.store, vector, **filters)
        if not moments and not self.store.count_videos():
            option = index_option(self._path)
            raise BadInput(f"The index {self._path.name!r} holds no videos yet. Add some: vidfind index FOLDER{option}")
        return moments

    def _open_ahead(self) -> None:
        """Begins to open the index, which goes on while the query is read."""

        def open_store() -> None:
            with suppress(Exception):  # raised again where the store is used
                assert self.store

        if self._store is None:
            threading.Thread(target=open_store).start()


def _state(path: Path) -> tuple[int, int] | None:
    """What changes whenever another encoding, or another index, takes the place of the one at `path`."""
    try:
        stat = os.stat(path / SETTINGS_FILE)
        return stat.st_ino, stat.st_mtime_ns
    except FileNotFoundError:
        return None
