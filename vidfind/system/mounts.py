"""Mounted drives and shares: which of them a path lies on, and whether it is the one that was there before.

Works from a table of mounts, so that nothing has to be mounted to try it. Knows nothing of videos.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Mounts = Mapping[Path, str]
"""The source of each mount, such as `/dev/sdb1` or `//nas/films`, by the folder where it is mounted."""

AUTOMOUNTER = "autofs"
"""The type of a mount that waits for its drive: it is there when the drive is not."""
VIRTUAL = "gvfs"
"""In a folder of this name, GNOME shows each share and each phone as a folder: one mount, whatever is connected."""
USUAL_PLACE = re.compile(
    r"(/run)?/media/[^/]+/[^/]+|/media/[^/]+|/Volumes/[^/]+|/mnt/[^/]+|/net/[^/]+|/run/user/[^/]+/gvfs/[^/]+"
)
"""The folders in which systems mount drives and shares, and which they delete when those are not there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies: the folder its drive is mounted at, which drive that is, and which file of the drive it is.

    None or empty where the system does not say. `volume` and `file_id` stay the same when the drive is mounted
    elsewhere, and `file_id` when the file is renamed."""

    mount: Path | None = None
    volume: str = ""
    file_id: str = ""


def read_mounts() -> Mounts:
    """The mounts of this machine; none where it does not say."""
    import psutil

    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return {}
    return {Path(one.mountpoint): one.device for one in partitions if one.fstype != AUTOMOUNTER}


def mount_of(path: Path, mounts: Mounts) -> Path | None:
    """The mount that `path` lies on, which must be absolute and without links."""
    below = None
    for folder in (path, *path.parents):
        if folder in mounts:
            return below if below and folder.name == VIRTUAL else folder
        below = folder
    return Path(path.anchor) if path.anchor.startswith("\\\\") else None  # Windows lists no shares without a letter


def is_mounted(mount: Path, mounts: Mounts) -> bool:
    """Whether a drive or share is mounted at a folder that `mount_of` has returned."""
    return mount in mounts or ((mount.parent.name == VIRTUAL or mount.anchor.startswith("\\\\")) and mount.exists())


def usual_places(path: Path) -> list[Path]:
    """The folders above `path` at which a drive may be mounted by the custom of the system."""
    return [folder for folder in path.parents if USUAL_PLACE.fullmatch(folder.as_posix())]


def may_be_away(path: Path) -> bool:
    """Whether a path that is not there may lie on a drive that is not plugged in."""
    drive = Path(path.anchor)
    return not drive.exists() or any(not folder.exists() or not any(folder.iterdir()) for folder in usual_places(path))


def nearest_name(path: Path) -> Path | None:
    """The path that is there, with a name most like that of the first folder on the way to `path` that is not."""
    missing = next((step for step in reversed((path, *path.parents)) if not step.exists()), path)
    with suppress(OSError):
        for name in difflib.get_close_matches(missing.name, os.listdir(missing.parent), n=1, cutoff=0.75):
            return missing.parent / name
    return None


def volume_of(mount: Path, source: str) -> str:
    """A name for the file system that is mounted at `mount`, which another one does not have; empty if unknown."""
    try:
        if sys.platform == "win32":
            return f"{os.stat(mount).st_dev:x}"  # the serial number of the volume
        if source.startswith("//") or ":" in source:
            return source  # a share
        if uuid := _uuid_of(source):
            return uuid
        if sys.platform == "darwin":  # where numbers are given anew each time
            return f"{os.stat(mount).st_birthtime:.0f}"
        number = os.statvfs(mount).f_fsid
        # Some file systems give the number of the drive's socket here, which the next drive in it has too.
        return f"{number:x}" if number not in (0, os.stat(mount).st_dev) else ""
    except OSError:
        return ""


def _uuid_of(source: str) -> str:
    """The UUID of the file system on a drive such as `/dev/sdb1`; empty if unknown."""
    if source.startswith("/dev/"):
        with suppress(OSError):
            for link in Path("/dev/disk/by-uuid").iterdir():
                if link.exists() and link.samefile(source):
                    return link.name
    return ""


class Places:
    """Finds where files lie. Remembers what it has seen, so make a new one for each look."""

    def __init__(self, mounts: Mounts | None = None) -> None:
        """`mounts` are those of the machine by default."""
        self._mounts = read_mounts() if mounts is None else mounts
        self._mount_of = functools.cache(lambda folder: mount_of(Path(os.path.realpath(folder)), self._mounts))
        self._volume_of = functools.cache(lambda mount: volume_of(mount, self._mounts.get(mount, "")))

    def drive_of(self, path: Path) -> Place:
        """The drive that a path lies on, there or not: without `file_id`."""
        return self.drive_in(path.parent)

    def drive_in(self, folder: Path) -> Place:
        """The drive that the files of a folder lie on."""
        mount = self._mount_of(folder)
        return Place(mount, self._volume_of(mount) if mount else "")

    def place_of(self, path: Path) -> Place:
        """Where a file lies. Of one that is not there, `file_id` is empty."""
        drive = self.drive_of(path)
        with suppress(OSError):
            return Place(drive.mount, drive.volume, str(os.stat(path).st_ino or ""))
        return drive

    def is_unplugged(self, path: Path, before: Place) -> bool:
        """Whether the drive that a missing file was on, `before`, is not there now, or another one in its place."""
        if before.mount is None:
            return not all(folder.exists() for folder in usual_places(path))
        if not is_mounted(before.mount, self._mounts):
            return True
        now = self._volume_of(before.mount)
        return bool(now and before.volume) and now != before.volume

    def is_within(self, folder: Path, before: Place) -> bool:
        """Whether a folder that is there lies on the drive `before`, and is not where that is mounted."""
        mount = self._mount_of(folder)
        if mount is None or mount != before.mount or Path(os.path.realpath(folder)) == mount:
            return False
        return not self.is_unplugged(folder, before)

    def is_same_file(self, path: Path, old_path: Path, before: Place) -> bool:
        """Whether `path` is the file that was at `old_path`, with another name or on a drive that is elsewhere now.

        False for a copy of it, and where the system does not say."""
        now = self.place_of(path)
        if not now.volume or now.volume != before.volume:
            return False
        if now.file_id and now.file_id == before.file_id:
            return True
        return _within(path, now.mount) is not None and _within(path, now.mount) == _within(old_path, before.mount)


def _within(path: Path, mount: Path | None) -> Path | None:
    return path.relative_to(mount) if mount and path.is_relative_to(mount) else None
