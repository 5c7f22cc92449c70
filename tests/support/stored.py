"""Writes to a store in one call each, for tests in which nothing else happens while the lock is held."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import reduce
from pathlib import Path

from vidfind.store.folder import KEEP_VERSIONS, SPEED_FILE
from vidfind.store.places.path import IndexPath, machine_folder, write_bytes
from vidfind.store.store import Embedded, Store
from vidfind.store.tables import VideoRow


def begin_again(store: Store, adapter: str | None = None) -> Store:
    """Begins to encode the index with another adapter, which is said to have this name."""
    identity = dataclasses.replace(store.settings.identity, adapter=adapter)
    settings = dataclasses.replace(store.settings, identity=identity)
    with store.writing() as writer:
        return writer.begin_again(settings, None)


def put(store: Store, rows: Sequence[VideoRow], embedded: Sequence[Embedded] = ()) -> None:
    with store.writing() as writer:
        writer.put(rows, embedded)


def remove(store: Store, paths: Iterable[Path]) -> None:
    with store.writing() as writer:
        writer.remove(paths)


def compact(store: Store, keep: timedelta = KEEP_VERSIONS) -> None:
    with store.writing() as writer:
        writer.compact(keep)


def on_disk(index: Store | IndexPath) -> Path:
    """Returns the folder of an index that is on disk, or something in it."""
    path = index.path if isinstance(index, Store) else index
    assert isinstance(path, Path)
    return path


def copy_index(folder: Path, place: IndexPath) -> IndexPath:
    """Copies the files of an index on disk to a place on disk or in object storage, which it returns."""
    for file in folder.rglob("*"):
        if file.is_file():
            to = machine_folder(place) if file.name == SPEED_FILE else place
            write_bytes(reduce(operator.truediv, file.relative_to(folder).parts, to), file.read_bytes())
    return place
