"""Vectors of earlier queries, kept beside the index so that the same query needs no model."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidfind.errors import StorageError
from vidfind.store.folder import QUERIES_FILE, QUERIES_FOLDER
from vidfind.store.places.path import IndexPath, machine_folder

log = logging.getLogger(__name__)

Vector = npt.NDArray[np.float32]
"""Of a query: (D,), of unit length."""
QUERIES_KEPT = 2000
"""Of an index; 2 KB each."""
CUT, WHOLE = b"\1", b"\0"
"""The first byte of a file in object storage: whether the model could read only the beginning of the query."""
BUSY_SECONDS = 0.2
"""How long to wait for another process that writes to the same file; then the vector is not kept."""


class QueryVector(NamedTuple):
    """The vector of a query; `is_cut` if the model could read only the beginning of the query."""

    vector: Vector
    is_cut: bool


class KeptVectors:
    """Vectors of queries asked before, in a file of their own, under names that do not tell what was asked.

    Losing them costs little: whatever goes wrong, there are none, or one is not kept."""

    def __init__(self, index: IndexPath) -> None:
        self._file = machine_folder(index) / QUERIES_FILE
        self._shared = None if isinstance(index, Path) else index / QUERIES_FOLDER
        """Of an index in object storage, the folder in it with a file for each query, which all machines share."""

    def get(self, name: bytes) -> QueryVector | None:
        """The vector kept under a name, if there is one and it is not damaged."""
        with suppress(sqlite3.Error, ValueError), closing(self._connect("ro")) as database:
            for blob, is_cut in database.execute("SELECT vector, is_cut FROM queries WHERE name = ?", [name]):
                vector = np.frombuffer(blob, np.float32)
                if abs(np.linalg.norm(vector) - 1) < 1e-3:
                    return QueryVector(vector, bool(is_cut))
        return self._get_shared(name)

    def _get_shared(self, name: bytes) -> QueryVector | None:
        """The vector that another machine has kept, which is kept here too from now on."""
        if self._shared is not None:
            with suppress(OSError, StorageError, ValueError):
                content = (self._shared / name.hex()).read_bytes()
                vector, is_cut = np.frombuffer(content[1:], np.float32), content[:1] == CUT
                if abs(np.linalg.norm(vector) - 1) < 1e-3:
                    self._keep(name, vector, is_cut)
                    return QueryVector(vector, is_cut)
        return None

    def put(self, name: bytes, vector: Vector, is_cut: bool) -> None:
        """Keeps a vector, and forgets the oldest where they are too many."""
        self._keep(name, vector, is_cut)
        if self._shared is not None:
            with suppress(OSError, StorageError):  # one who may only read
                (self._shared / name.hex()).write_bytes((CUT if is_cut else WHOLE) + vector.tobytes())

    def _keep(self, name: bytes, vector: Vector, is_cut: bool) -> None:
        try:
            if self._shared is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            self._put(name, vector, is_cut)
        except sqlite3.OperationalError as error:  # a folder that may not be written, a full disk, another writes
            log.debug("the query is not kept: %s", error)
        except (sqlite3.DatabaseError, OSError):  # damaged
            with suppress(sqlite3.Error, OSError):
                self._file.unlink(missing_ok=True)
                self._put(name, vector, is_cut)

    def _put(self, name: bytes, vector: Vector, is_cut: bool) -> None:
        with closing(self._connect("rwc")) as database, database:
            # No files beside it, and no waiting for the disk: a crash may cost the vectors, and they are made anew.
            database.executescript("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")
            database.execute("CREATE TABLE IF NOT EXISTS queries (name BLOB UNIQUE, vector BLOB, is_cut INTEGER)")
            database.execute("INSERT OR REPLACE INTO queries VALUES (?, ?, ?)", [name, vector.tobytes(), is_cut])
            database.execute("DELETE FROM queries WHERE rowid <= (SELECT MAX(rowid) FROM queries) - ?", [QUERIES_KEPT])

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self._file.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, timeout=BUSY_SECONDS, uri=True)
