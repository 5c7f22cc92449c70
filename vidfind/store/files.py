"""The files of indexed videos: whether they are there now, and whether they still hold what was indexed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from vidfind.store.tables import VideoRow
from vidfind.system.files import find_present, fingerprint

MOST_STATES = 10_000
"""States of files whose contents are known."""
OPENING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""How a file is opened: a pipe that took its place must not make the server wait."""


class Opened(NamedTuple):
    """An open file, and what the disk says of it."""

    file: BinaryIO
    status: os.stat_result


class IndexedFiles:
    """Opens the files of videos, and remembers which of them hold what was indexed. Safe for many threads."""

    def __init__(self) -> None:
        self._same: dict[tuple[str, int, int, int], bool] = {}

    def open(self, row: VideoRow) -> Opened | None:
        """Returns the file of a video, open; None if it is no file any more, or has other contents. Raises OSError."""
        file = os.fdopen(os.open(row.path, OPENING), "rb")
        try:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and self._is_same(row, file, status):
                return Opened(file, status)
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    def _is_same(self, row: VideoRow, file: BinaryIO, status: os.stat_result) -> bool:
        """Whether an open file has the contents that were indexed; these are compared once for each state of it."""
        state = (row.fingerprint, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)  # nobody can set the last
        if status.st_size != row.size:
            return False
        if state not in self._same:
            self._same[state] = fingerprint(os.dup(file.fileno())) == row.fingerprint
            while len(self._same) > MOST_STATES:
                self._same.pop(next(iter(self._same)), None)
        return self._same[state]


def find_present_files(rows: Collection[VideoRow]) -> set[Path]:
    """Returns the paths of the videos whose files are there now; a share that does not answer at once is not there."""
    return find_present({row.path: row.path.parent if row.folder == row.path else row.folder for row in rows})


def outer_folders(rows: Iterable[VideoRow]) -> list[Path]:
    """The folders that videos were indexed under, sorted, without those inside another of them."""
    outer: list[Path] = []
    for folder in sorted({row.folder for row in rows}):  # what lies inside a folder comes next after it
        if not outer or not folder.is_relative_to(outer[-1]):
            outer.append(folder)
    return outer
