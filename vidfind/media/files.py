"""Finds video files in folders and gives each a fingerprint.

Uses only the standard library. Knows nothing of the contents of videos, or of the index.
"""

import hashlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from stat import S_ISREG

log = logging.getLogger(__name__)

# fmt: off
VIDEO_EXTENSIONS = frozenset((
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".hevc", ".insv", ".lrv", ".m1v",
    ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg",
    ".mpv", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".webm",
    ".wmv", ".wtv", ".y4m",
))
# fmt: on

BLOCK_SIZE = 64 * 1024  # large enough that two takes of one camera differ, small enough for a network drive
BLOCKS = 8

LOOK_SECONDS = 1.0
"""Seconds to wait for an answer about folders; a share whose server is gone may take minutes."""


@dataclass(frozen=True)
class VideoFile:
    """A file that may be a video, as the folder lists it. `path` is absolute and keeps the links in it."""

    path: Path
    size: int
    mtime_ns: int


def find_videos(folders: Iterable[Path], exclude: Sequence[str] = ()) -> Iterator[VideoFile]:
    """Yields every video below `folders` once, in the order of their names.

    A folder is searched for files with one of VIDEO_EXTENSIONS; hidden files and folders are skipped. Links are
    followed. A folder or file that is reached a second time is skipped, so that loops end. A file among `folders` is
    yielded whatever its name. Paths that are missing, not regular files, or may not be listed are skipped.

    `exclude` holds shell patterns such as `*.gif`, `Trash` or `old/*`. A file or folder is skipped if a pattern
    matches its name, its path relative to the searched folder, or its whole path.
    """
    seen: set[str] = set()
    for folder in folders:
        root = os.path.abspath(folder)
        if os.path.isdir(root):
            yield from _walk(root, root, os.path.realpath(root), exclude, seen)
        elif _is_first(os.path.realpath(root), seen) and not _is_excluded(root, os.path.dirname(root), exclude):
            yield from _regular_file(root)


def _walk(folder: str, root: str, real_folder: str, exclude: Sequence[str], seen: set[str]) -> Iterator[VideoFile]:
    if not _is_first(real_folder, seen):
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        log.info("cannot list %s: %s", folder, error.strerror)
        return
    for entry in found:
        if entry.name.startswith(".") or _is_excluded(entry.path, root, exclude):
            continue
        # To resolve a path, the system reads each folder on it; only links need that.
        real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real_folder, entry.name)
        # entry.is_dir() raises for a link to itself.
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            yield from _walk(entry.path, root, real, exclude, seen)
        elif is_video_name(entry.name) and _is_first(real, seen):
            yield from _regular_file(entry.path)


def _regular_file(path: str) -> Iterator[VideoFile]:
    """Yields the file if it is regular and still there."""
    try:
        stat = os.stat(path)
    except OSError as error:
        log.info("cannot look at %s: %s", path, error.strerror)
        return
    if S_ISREG(stat.st_mode):
        yield VideoFile(Path(path), stat.st_size, stat.st_mtime_ns)


def is_video_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS


def is_searched(path: Path, root: Path, exclude: Sequence[str] = ()) -> bool:
    """Whether `find_videos(root)` reaches `path`: no step on the way there is hidden or excluded."""
    on_the_way = [path, *path.parents][: len(path.parts) - len(root.parts)]
    return not any(step.name.startswith(".") or _is_excluded(str(step), str(root), exclude) for step in on_the_way)


def _is_first(real_path: str, seen: set[str]) -> bool:
    if real_path in seen:
        return False
    seen.add(real_path)
    return True


def _is_excluded(path: str, root: str, exclude: Sequence[str]) -> bool:
    names = (os.path.basename(path), os.path.relpath(path, root), path)
    return any(fnmatch(name, pattern.rstrip("/") or "/") for pattern in exclude for name in names)


def fingerprint(path: Path) -> str:
    """Returns 32 hexadecimal digits, made from the size of a file and a few blocks spread evenly over it.

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


def _holds_something(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
