"""Vectors of earlier queries, kept beside the index so that the same query needs no model."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

Vector = npt.NDArray[np.float32]
"""Of a query: (D,), of unit length."""
QUERIES_KEPT = 2000
"""Of an index; 2 KB each."""
BUSY_SECONDS = 0.2
"""How long to wait for another process that writes to the same file; then the vector is not kept."""


class QueryVector(NamedTuple):
    """The vector of a query; `is_cut` if the model could read only the beginning of the query."""

    vector: Vector
    is_cut: bool


class KeptVectors:
    """Vectors of queries asked before, in a file of their own, under names that do not tell what was asked.

    Losing them costs little: whatever goes wrong, there are none, or one is not kept."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self, name: bytes) -> QueryVector | None:
        """The vector kept under a name, if there is one and it is not damaged."""
        with suppress(sqlite3.Error, ValueError), closing(self._connect("ro")) as database:
            for blob, is_cut in database.execute("SELECT vector, is_cut FROM queries WHERE name = ?", [name]):
                vector = np.frombuffer(blob, np.float32)
                if abs(np.linalg.norm(vector) - 1) < 1e-3:
                    return QueryVector(vector, bool(is_cut))
        return None

    def put(self, name: bytes, vector: Vector, is_cut: bool) -> None:
        """Keeps a vector, and forgets the oldest where they are too many."""
        try:
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
