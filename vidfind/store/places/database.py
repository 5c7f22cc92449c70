"""Opens the LanceDB database of an index, on disk or in object storage."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from vidfind.store.places.bucket import table_options
from vidfind.store.places.path import IndexPath, RemotePath
from vidfind.system.imports import import_lancedb, import_lancedb_after_torch

if TYPE_CHECKING:
    from lancedb.db import DBConnection


def connect(path: IndexPath, sees_others: bool = True) -> DBConnection:
    """The LanceDB database of the index at `path`; `sees_others`: at once what other processes commit.

    That takes a request for each step of a commit in object storage, of which there are ten."""
    _silence()
    lancedb = import_lancedb()  # a third of a second, which is not spent before a missing index or model is reported

    database: DBConnection = lancedb.connect(
        str(path) if isinstance(path, RemotePath) else path,
        read_consistency_interval=timedelta(0) if sees_others else None,
        storage_options=storage_options(path),
    )
    return database


def prepare_to_connect() -> None:
    """Imports what `connect` needs while a model is loaded, which the caller does next."""
    _silence()
    import_lancedb_after_torch()


def _silence() -> None:
    """Keeps the warnings of lancedb, which is not imported yet, off stderr."""
    os.environ.setdefault("LANCEDB_LOG", "error")


def storage_options(path: IndexPath) -> dict[str, str] | None:
    """LanceDB's options for the store that an index is in; None for one on disk."""
    return table_options(path.kind) if isinstance(path, RemotePath) else None
