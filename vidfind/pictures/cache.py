"""Keeps small pictures of videos on disk: by content, so that moved videos keep theirs, and at most so many bytes.

Losing them costs little: a damaged picture, or one that cannot be kept, is made anew. Times are in seconds.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import threading
import time as clock
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from vidfind.errors import UnreadableVideo
from vidfind.pictures.thumbnail import NEAR, SIZE, Shot, thumbnail
from vidfind.system.files import fingerprint as fingerprint_of
from vidfind.system.paths import pictures_path

log = logging.getLogger(__name__)

MAX_BYTES = 500 * 2**20
"""Some 30,000 pictures."""
MAKERS = max(2, min(4, os.cpu_count() or 1))
"""Threads that make pictures: more only contend for the disk."""
SHARE_LEFT = 0.9
"""Share of the room that is still used after the oldest pictures were deleted: the next ones need no deleting."""
SHARE_UNCOUNTED = 0.02
"""Share of the room that a process may fill before it counts again: others fill it too."""
USED_AGAIN = 3600.0
"""Seconds: a picture that is used more often is not marked as used each time."""
DIGEST = 16
"""Bytes at the end of a kept file, after the JPEG; they tell whether it is damaged."""
LOST = 3600.0
"""Seconds after which a file that is not whole belongs to a process that was killed."""
UNUSED = 30 * 24 * 3600.0
"""Seconds after which a picture that nobody wanted goes, as the vectors of removed videos do."""


class PictureCache:
    """Small pictures of videos, each made when it is first wanted. Threads and processes may share a folder.

    picture = PictureCache().picture(moment.path, fingerprint, moment.best)
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        """`folder` is that of the user's cache by default. Nothing is written before there is a picture to keep."""
        self.folder = pictures_path() if folder is None else folder
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._making: dict[Path, Future[bytes]] = {}
        self._uncounted = int(max_bytes * SHARE_UNCOUNTED)  # the first picture counts

    def picture(self, path: Path, fingerprint: str, time: float, size: int = SIZE, near: float = NEAR) -> bytes:
        """Returns a JPEG as `thumbnail` does, kept or made now; wanted twice at a time, it is made once.

        `fingerprint` is that of the video as the index has it (`VideoRow.fingerprint`). If the file is not there, or
        has other contents now, a picture that is kept is still returned. Raises UnreadableVideo."""
        file = self._file(fingerprint, time, size, near)
        kept = self._read(file)
        return kept or self._once(file, lambda: self._make(file, path, fingerprint, time, size, near))

    def kept(self, fingerprint: str, time: float, size: int = SIZE, near: float = NEAR) -> bytes | None:
        """Returns a JPEG that is kept, without a look at the video; None if there is none."""
        return self._read(self._file(fingerprint, time, size, near))

    def pictures(self, shots: Sequence[Shot], size: int = SIZE) -> Iterator[bytes | str]:
        """Yields the JPEG of each shot, in order, or the reason why there is none; several are made at a time."""
        pool = ThreadPoolExecutor(MAKERS, thread_name_prefix="picture")
        try:
            yield from pool.map(lambda shot: self._picture_or_reason(shot, size), shots)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _picture_or_reason(self, shot: Shot, size: int) -> bytes | str:
        if not shot.is_there:
            return self.kept(shot.fingerprint, shot.time, size, shot.near) or "is offline"
        try:
            return self.picture(shot.path, shot.fingerprint, shot.time, size, shot.near)
        except UnreadableVideo as error:
            return str(error)

    def forget(self, fingerprints: Iterable[str]) -> None:
        """Deletes the pictures of videos with these fingerprints, as far as they can be deleted."""
        for fingerprint in fingerprints:
            shutil.rmtree(self._folder_of(fingerprint), ignore_errors=True)

    def clear(self) -> None:
        """Deletes all pictures, as far as they can be deleted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def count(self) -> tuple[int, int]:
        """Returns the number of pictures, and how many bytes they take."""
        sizes = [size for _, size, _ in self._files()]
        return len(sizes), sum(sizes)

    def _file(self, fingerprint: str, time: float, size: int, near: float) -> Path:
        return self._folder_of(fingerprint) / f"{round(time * 1000)}-{size}-{round(near * 1000)}.jpg"

    def _folder_of(self, fingerprint: str) -> Path:
        return self.folder / hashlib.sha256(fingerprint.encode()).hexdigest()[:32]  # whatever is in the text

    def _once(self, file: Path, make: Callable[[], bytes]) -> bytes:
        """Returns what `make` returns, or what another thread makes for the same file meanwhile."""
        mine: Future[bytes] = Future()
        with self._lock:
            making = self._making.setdefault(file, mine)
        if making is not mine:
            return making.result()
        try:
            mine.set_result(make())
        except BaseException as error:
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._making[file]
        return mine.result()

    def _make(self, file: Path, path: Path, fingerprint: str, time: float, size: int, near: float) -> bytes:
        data = thumbnail(path, time, size, near)
        try:
            if fingerprint_of(path) == fingerprint:  # else the file was replaced since it was indexed
                self._keep(file, data)
        except OSError as error:  # no rights, no room, another process deletes
            log.debug("a picture is not kept: %s", error)
        return data

    def _read(self, file: Path) -> bytes | None:
        """Returns a picture that is kept; None if there is none, or it is damaged."""
        try:
            data = file.read_bytes()
            data, digest = data[:-DIGEST], data[-DIGEST:]
            if _digest(data) != digest:
                return None
            if file.stat().st_mtime < clock.time() - USED_AGAIN:
                os.utime(file)
        except OSError:
            return None
        return data

    def _keep(self, file: Path, data: bytes) -> None:
        self.folder.mkdir(0o700, parents=True, exist_ok=True)  # nobody else may see what is in somebody's videos
        file.parent.mkdir(exist_ok=True)
        part = file.with_name(f"{secrets.token_hex(8)}.part")
        try:
            part.write_bytes(data + _digest(data))
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        with self._lock:
            self._uncounted += len(data) + DIGEST
            is_time = self._uncounted > self.max_bytes * SHARE_UNCOUNTED
            if is_time:
                self._uncounted = 0
        if is_time:
            self._delete_oldest()

    def _delete_oldest(self) -> None:
        """Deletes the pictures that nobody wanted for long, and if there are too many, those used longest ago."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        room = self.max_bytes * SHARE_LEFT if total > self.max_bytes else total
        for used, size, file in files:
            if total <= room and used >= clock.time() - UNUSED:
                break
            total -= size
            with suppress(OSError):
                os.unlink(file)
                os.rmdir(os.path.dirname(file))  # if it was the last of its video

    def _files(self) -> list[tuple[float, int, str]]:
        """Returns when each file was last used, its size in bytes, and its path."""
        found = []
        for folder in _entries(self.folder):
            for entry in _entries(folder.path):
                with suppress(OSError):  # deleted meanwhile
                    status = entry.stat()
                    is_lost = entry.name.endswith(".part") and status.st_mtime < clock.time() - LOST
                    found.append((0.0 if is_lost else status.st_mtime, status.st_size, entry.path))
        return found


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST).digest()
