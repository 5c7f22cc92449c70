"""Which stored videos are on disk now, gone, or on a drive that is not there."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from vidfind.store.tables import VideoRow
from vidfind.system.files import look_at_folder
from vidfind.system.mounts import Mounts, Place, Places

PATIENCE = 10.0
"""Seconds in which a folder must answer: a disk that sleeps needs some, a share whose server is gone takes minutes."""
Presence = Literal["there", "gone", "offline"]


class Disk:
    """The folders on disk. Remembers each folder as it was first seen, so make a new one for each plan."""

    def __init__(self, mounts: Mounts | None = None, unreadable: Iterable[Path] = ()) -> None:
        """`mounts` are those of the machine by default. `unreadable` are files and folders that could not be looked at:
        nothing in them counts as gone."""
        self._places = Places(mounts)
        self._unreadable = frozenset(unreadable)
        self._look_at = functools.cache(lambda folder: look_at_folder(folder, PATIENCE))
        self._is_dangling = functools.cache(_is_dangling)
        self._names_in = functools.cache(_names_in)
        self._empty_since = functools.cache(_empty_since)

    def presence(self, row: VideoRow, folder: Path) -> Presence:
        """Whether a stored video is there now, as one of the videos of `folder`.

        A video is offline, and so kept, when its folder is missing, or empty, or behind a link that leads nowhere, or
        cannot be read, or does not answer; when its drive is not mounted, or another in its place; and when a folder
        within it is empty, but has not changed since the video was indexed. An empty folder may be where a drive is
        mounted at other times: but not if the video was on the very drive that the empty folder is on."""
        path = row.path
        if not self._unreadable.isdisjoint((path, *path.parents)):
            return "offline"
        holder = path.parent if folder == path else folder
        state = self._look_at(holder)
        if state == "missing" or (state == "empty" and not self._places.is_within(holder, row.place)):
            return "offline"
        inside = [path, *(parent for parent in path.parents if parent != folder and parent.is_relative_to(folder))]
        try:
            path.stat()
            # Where case makes no difference, a file renamed from a.mp4 to A.mp4 still answers to its old name.
            return "there" if all(part.name in self._names_in(part.parent) for part in inside) else "gone"
        except (FileNotFoundError, NotADirectoryError):
            if self._places.is_unplugged(path, row.place):
                return "offline"
            # Where a file was deleted, the folder has changed: else a drive is mounted there at other times.
            is_mount_point = any(
                self._empty_since(parent) < row.indexed_at.timestamp() and not self._places.is_within(parent, row.place)
                for parent in inside[1:]
            )
            return "offline" if is_mount_point or any(map(self._is_dangling, [*inside, folder])) else "gone"
        except OSError:
            return "offline"

    def is_moved(self, row: VideoRow, path: Path) -> bool:
        """Whether the file at `path` is that of a video whose old folder is not there, and not a copy of it."""
        return self._places.is_same_file(path, row.path, row.place)

    def placed(self, row: VideoRow) -> VideoRow:
        """The row of a video that is there, with the drive that it is on."""
        return dataclasses.replace(row, place=self._places.place_of(row.path))

    def drive_in(self, folder: Path) -> Place:
        """The drive that the files of a folder lie on."""
        return self._places.drive_in(folder)

    def is_placed(self, row: VideoRow) -> bool:
        """Whether the row of a video that is there names the drive that it is on."""
        drive = self._places.drive_of(row.path)
        return (drive.mount, drive.volume) == (row.place.mount, row.place.volume)


def _is_dangling(path: Path) -> bool:
    """Whether `path` is a link that leads nowhere."""
    return path.is_symlink() and not path.exists()


def _names_in(folder: Path) -> frozenset[str]:
    return frozenset(os.listdir(folder))


def _empty_since(folder: Path) -> float:
    """Seconds since 1970 at which an empty folder changed last; infinity for one that is not empty, or not readable."""
    try:
        return math.inf if os.listdir(folder) else folder.stat().st_mtime
    except OSError:
        return math.inf
