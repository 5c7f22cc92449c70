"""Which stored videos are on disk now, gone, or on a drive that is not there."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from vidfind.media.files import find_present
from vidfind.store.tables import VideoRow

PATIENCE = 10.0
"""Seconds in which a folder must answer: a disk that sleeps needs some, a share whose server is gone takes minutes."""
Presence = Literal["there", "gone", "offline"]
Look = Callable[[VideoRow, Path], Presence]
"""Whether a stored video is there now, as one of the videos of a folder."""


def look_on_disk() -> Look:
    """The `look` of `make_plan`; remembers what it saw of each folder, so make one for each plan.

    A video is offline, and so kept, when its folder is missing, or empty (where a drive is mounted at other times),
    or behind a link that leads nowhere, or cannot be read, or does not answer; and when a folder within it is empty,
    but has not changed since the video was indexed."""

    @functools.cache
    def is_away(folder: Path) -> bool:
        return folder not in find_present({folder: folder}, PATIENCE) or not folder.is_dir()

    @functools.cache
    def is_dangling(path: Path) -> bool:
        return path.is_symlink() and not path.exists()

    @functools.cache
    def listed(folder: Path) -> frozenset[str]:
        return frozenset(os.listdir(folder))

    @functools.cache
    def empty_since(folder: Path) -> float:
        try:
            return math.inf if os.listdir(folder) else folder.stat().st_mtime
        except OSError:
            return math.inf

    def look(row: VideoRow, folder: Path) -> Presence:
        path = row.path
        if is_away(path.parent if folder == path else folder):
            return "offline"
        inside = [path, *(parent for parent in path.parents if parent != folder and parent.is_relative_to(folder))]
        try:
            path.stat()
            # Where case makes no difference, a file renamed from a.mp4 to A.mp4 still answers to its old name.
            return "there" if all(part.name in listed(part.parent) for part in inside) else "gone"
        except (FileNotFoundError, NotADirectoryError):
            # Where a file was deleted, the folder has changed: else a drive is mounted there at other times.
            is_mount_point = any(empty_since(parent) < row.indexed_at.timestamp() for parent in inside[1:])
            return "offline" if is_mount_point or any(map(is_dangling, [*inside, folder])) else "gone"
        except OSError:
            return "offline"

    return look
