"""Copies on this machine of the tables of an index in object storage, so that a search fetches only what is new.

LanceDB never changes a file that it has written: a copy has every file of a table once, and the list of files, the
manifest, comes last. A table that was made anew has other data under new names, but its manifests have the names of the
old ones: their copies have the times of the originals, and so tell which these are. Several processes may keep the same
copy.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from vidfind.store.places.path import FileStatus, RemotePath, machine_folder, write_bytes
from vidfind.system.storage import storage_errors

MOST_BYTES = 4 * 10**9
"""A larger table is read where it is: vectors of 1,000 hours take 0.4 GB at most."""
LOOK_EVERY = 1.0
"""Seconds in which a copy is not compared with the table again."""
SAME_TIME = 0.5
"""Seconds by which the time of a copy may differ, on disks that round it."""
THREADS = 8
TRIES = 3
VERSIONS = "_versions"
NOT_READ = "_transactions"


class TableCopy:
    """The copy of a table of the index at `path`, in the folder of a database of copies on this machine."""

    def __init__(self, path: RemotePath, name: str) -> None:
        self.folder = machine_folder(path)
        self._table, self._copy = path / f"{name}.lance", self.folder / f"{name}.lance"
        self._lock = threading.Lock()
        self._looked = -LOOK_EVERY
        self._newest: tuple[str, FileStatus] | None = None

    def follow(self) -> None:
        """Brings the copy up to date, unless that was done in the last second. Raises StorageError."""
        with self._lock:
            if time.monotonic() - self._looked < LOOK_EVERY:
                return
            newest = min((self._table / VERSIONS).sizes().items(), default=None)
            if newest != self._newest or newest is None:
                self._fetch()
            self._looked, self._newest = time.monotonic(), newest

    def is_worthwhile(self) -> bool:
        """Whether the table is not too large for a copy, and there is room for one."""
        size = sum(status.st_size for status in self._table.sizes().values())
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            return size <= MOST_BYTES and 2 * size < shutil.disk_usage(self.folder).free
        return False

    def _fetch(self) -> None:
        for tries in range(TRIES):
            try:
                # Manifests first: what they list is there by then, and is listed after them.
                manifests = [f"{VERSIONS}/{name}" for name in (self._table / VERSIONS).sizes()]
                files = self._table.sizes()
                data = [name for name in files if not name.startswith((NOT_READ, VERSIONS))]
                with ThreadPoolExecutor(THREADS) as pool:
                    for names in (data, sorted(manifests, reverse=True)):
                        missing = [name for name in names if not self._has(name, files.get(name))]
                        for _ in pool.map(self._fetch_file, missing, (files.get(name) for name in missing)):
                            pass
                self._forget({*data, *manifests})
                return
            except FileNotFoundError:  # tidied up meanwhile: what is there now is listed anew
                if tries == TRIES - 1:
                    raise

    def _has(self, name: str, original: FileStatus | None) -> bool:
        file = self._copy / name
        if original is None or not file.is_file() or (ours := file.stat()).st_size != original.st_size:
            return False
        return not name.startswith(VERSIONS) or abs(ours.st_mtime - original.st_mtime) < SAME_TIME

    def _fetch_file(self, name: str, original: FileStatus | None) -> None:
        """Copies a file, with the time of the original, which is known from a list made before."""
        write_bytes(self._copy / name, (self._table / name).read_bytes())
        if original is not None:
            os.utime(self._copy / name, (original.st_mtime, original.st_mtime))

    def _forget(self, names: set[str]) -> None:
        """Deletes what the table has not any more, the lists of files first."""
        for file in sorted(self._copy.rglob("*"), key=lambda file: VERSIONS not in file.parts):
            if file.is_file() and file.relative_to(self._copy).as_posix() not in names:
                with suppress(OSError):  # another process reads it, on Windows, or has deleted it
                    file.unlink()


def copy_of(path: RemotePath, name: str) -> tuple[Path, Callable[[], None]] | None:
    """Returns the folder of the database of copies, with a copy of a table, and a function that brings that up to date.

    None for a table that is too large, or where there is no room. Raises StorageError."""
    copy = TableCopy(path, name)
    if not copy.is_worthwhile():
        return None
    with storage_errors(copy.folder):
        copy.follow()
    return copy.folder, copy.follow
