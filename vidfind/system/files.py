"""Files as they lie on disk: their fingerprints, and whether they are there now.

Uses only the standard library. Knows nothing of the contents of videos, or of the index.
"""

import hashlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BLOCK_SIZE = 64 * 1024  # large enough that two takes of one camera differ, small enough for a network drive
BLOCKS = 8

LOOK_SECONDS = 1.0
"""Seconds to wait for an answer about folders; a share whose server is gone may take minutes."""

FolderState = Literal["filled", "empty", "missing"]


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A file that may be a video, as the folder lists it. `path` is absolute and keeps the links in it."""

    path: Path
    size: int
    mtime_ns: int


def fingerprint(path: Path | int) -> str:
    """Returns 32 hexadecimal digits, made from the size of a file and a few blocks spread evenly over it.

    The descriptor of an open file serves as well, and is closed.

    The first and the last block are included. It takes the same time for every large file, and does not change when
    the file is moved, renamed or touched.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.sha256(str(size).encode())
        if size <= BLOCKS * BLOCK_SIZE:
            starts = [0]
            length = size
        else:
            starts = [(size - BLOCK_SIZE) * i // (BLOCKS - 1) for i in range(BLOCKS)]
            length = BLOCK_SIZE
        for start in starts:
            file.seek(start)
            digest.update(file.read(length))
    return digest.hexdigest()[:32]


def state_of(file: Path) -> tuple[int, int] | None:
    """A value that changes whenever another file takes the place of this one; None while there is none.

    That of the settings changes with the encoding in use, and with the index."""
    try:
        stat = os.stat(file)
        return stat.st_ino, stat.st_mtime_ns
    except FileNotFoundError:
        return None


def find_present(paths: Mapping[Path, Path], seconds: float = LOOK_SECONDS) -> set[Path]:
    """Returns the files and folders that are there now.

    `paths` maps each path to the folder whose drive or share it depends on; each such folder is looked at in a thread
    of its own. An empty folder (a drive is mounted there at other times) and one that may not be listed count as
    missing. So does everything that is not known after `seconds`."""
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path, folder in paths.items():
        groups[folder].append(path)
    there: dict[Path, bool] = {}

    def ask(group: Sequence[Path]) -> None:
        for path in group:
            there[path] = path.is_file() or _holds_something(path)

    threads = [threading.Thread(target=ask, args=[group], daemon=True) for group in groups.values()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {path for path, is_there in list(there.items()) if is_there}


def look_at_folder(folder: Path, seconds: float) -> FolderState:
    """Returns whether a folder has something in it, is empty, or is missing, cannot be listed, or does not answer."""
    found: list[FolderState] = []

    def look() -> None:
        try:
            with os.scandir(folder) as entries:
                found.append("filled" if next(entries, None) else "empty")
        except OSError:
            found.append("missing")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    return next(iter(found), "missing")


def _holds_something(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
