"""The folder of an index: its lock, its own files, garbage in it, deleting it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from vidfind.commands import index_command
from vidfind.errors import IndexBusy, IndexNotFound
from vidfind.store.settings import (
    COPY_FILE,
    NEXT_FILE,
    SETTINGS_FILE,
    is_index,
    read_generation,
)
from vidfind.store.tables import (
    table_names,
)
from vidfind.system.storage import lock, storage_errors

LOCK_FILE = "writing.lock"
SPEED_FILE = "speed.json"
QUERIES_FILE = "queries.sqlite"
"""Vectors of queries asked before: see queries.py."""
# What an index folder may hold besides its settings: tables of all generations, adapters, and what a copy left behind.
OWN_FILES = re.compile(
    r"(videos|segments)(-\d+)?(\.mend\w+)?\.lance|\.?adapter-\w+\.safetensors(\.part)?|\.(settings|speed).*\.part"
)
PASSING_FILES = re.compile(r".*\.(part|mend\w+\.lance)")
"""Those of them that are there only while something is written."""
# Longer than any search takes: a search that began before a compaction still finds its files.
KEEP_VERSIONS = timedelta(hours=1)


def delete_index(path: Path) -> None:
    """Deletes the index at `path`, even one that cannot be opened, and nothing but it.

    Raises IndexNotFound, IndexBusy while another process writes to it, StorageError."""
    if not is_index(path):
        raise IndexNotFound(f"There is no index {path.name!r}: nothing to delete.")
    with writing_lock(path), storage_errors(path):
        (path / SETTINGS_FILE).unlink()  # first: from here on it is no index
        for entry in own_files(path):
            delete_entry(entry)
        for file in (NEXT_FILE, COPY_FILE, SPEED_FILE, QUERIES_FILE):
            (path / file).unlink(missing_ok=True)
        with suppress(PermissionError):  # Windows keeps a file that is open
            (path / LOCK_FILE).unlink()  # last, and while it is held: see writing_lock
    if not any(path.iterdir()):
        path.rmdir()


def require_index(path: Path) -> None:
    """Raises IndexNotFound, with the indexes there are and the command that makes this one, where there is none."""
    with storage_errors(path):
        if is_index(path):
            return
        others = sorted(entry.parent.name for entry in path.parent.glob(f"*/{SETTINGS_FILE}"))
    known = f" (there is: {', '.join(others)})" if others else ""
    raise IndexNotFound(f"There is no index {path.name!r} yet{known}. Make it: {index_command(path)}")


@contextmanager
def writing_lock(path: Path) -> Iterator[None]:
    """Keeps other processes from writing to the index at `path`, whatever state it is in. Raises IndexBusy at once."""
    try:
        with storage_errors(path):
            file = open(path / LOCK_FILE, "ab")  # noqa: SIM115, closed below
    except FileNotFoundError as error:
        raise IndexNotFound(f"There is no index {path.name!r} any more.") from error
    with file:
        try:
            with storage_errors(path):
                lock(file.fileno())
                is_ours = os.path.samestat(os.fstat(file.fileno()), os.stat(path / LOCK_FILE))
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:  # taken, or deleted together with the index between the opening and the locking
            raise IndexBusy(f"Another vidfind is writing to the index {path.name!r}: wait until it is done.")
        yield  # closing the file, or the end of the process however it ends, gives the lock back


def own_files(path: Path) -> list[Path]:
    """The tables, adapters and unfinished files in an index's folder, in the order of their names."""
    return sorted(entry for entry in path.iterdir() if OWN_FILES.fullmatch(entry.name))


def leftovers(path: Path, keep: timedelta = KEEP_VERSIONS) -> list[Path]:
    """What is in an index's folder and of no use: tables and adapters that were in use more than `keep` ago, and what
    was being written when a process was killed. Raises as `read_generation`."""
    used = set()
    for file in (SETTINGS_FILE, NEXT_FILE):
        with suppress(FileNotFoundError):
            generation = read_generation(path, file)
            used |= {f"{table}.lance" for table in table_names(generation.number)} | {generation.adapter_file}
    left = time.time() - keep.total_seconds()
    switched = (path / SETTINGS_FILE).stat().st_mtime

    def since(entry: Path) -> float:
        return entry.stat().st_mtime if PASSING_FILES.fullmatch(entry.name) else switched

    return [entry for entry in own_files(path) if entry.name not in used and since(entry) <= left]


def delete_entry(entry: Path) -> None:
    """Deletes a file, or a folder with all in it; nothing if it is not there."""
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def size_on_disk(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:  # deleted meanwhile by a run that is at work
        return 0
