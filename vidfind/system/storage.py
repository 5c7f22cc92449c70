"""Atomic writes of small files, locks, and clear errors for full disks and missing rights.

Knows nothing of the contents of the files. Of LanceDB it knows only that its errors quote those of the system.
"""

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidfind.errors import StorageError, VidfindError
from vidfind.system.paths import default_home

FULL = "Free some space, then run the command again. What was stored before is kept."
ELSEWHERE = "Change that, or set VIDFIND_HOME to a folder that can be written."
LOCAL = "It cannot be locked: set VIDFIND_HOME to a folder on a disk of this machine."
REMEDIES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EROFS: ELSEWHERE,
    errno.EACCES: ELSEWHERE,
    errno.EPERM: ELSEWHERE,
    errno.EIO: "The disk may be failing: copy to another what you want to keep.",
    errno.ENOLCK: LOCAL,
    errno.ENOSYS: LOCAL,
    errno.EOPNOTSUPP: LOCAL,
    errno.EMFILE: "Let a process open more files: ulimit -n 4096",
}


UNSUPPORTED = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EMLINK})
"""Error numbers of file systems for what they do not have; Windows' own numbers become EINVAL."""


def require_file_system(folder: Path) -> None:
    """Raises StorageError if files in a folder, there or not, cannot be written, locked and linked, as an index needs.

    LanceDB makes each commit with a hard link, which exFAT, FAT and many network shares do not have."""
    place = next((one for one in (folder, *folder.parents) if one.is_dir()), folder)
    with storage_errors(folder), tempfile.TemporaryDirectory(prefix=".vidfind-", dir=place) as tried:
        file = Path(tried, "file")
        file.touch()
        missing = "hard links" if _lacks(lambda: os.link(file, Path(tried, "link"))) else ""
        with open(file, "ab") as opened:
            missing = missing or ("locks" if _lacks(lambda: lock(opened.fileno())) else "")
    if missing:
        elsewhere = f", such as {default_home()}" if os.environ.get("VIDFIND_HOME") else " (ext4, APFS or NTFS)"
        raise StorageError(
            f"{place} is on a file system without {missing}, which an index needs. Set VIDFIND_HOME to a folder on "
            f"another disk{elsewhere}. Videos may lie anywhere."
        )


def _lacks(use: Callable[[], None]) -> bool:
    """Whether the file system does not have what `use` needs."""
    try:
        use()
    except OSError as error:
        if error.errno in UNSUPPORTED | {errno.ENOLCK}:
            return True
        raise
    return False


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a file to write, which replaces `path` at the end; a process that is killed leaves `path` unchanged.

    Raises StorageError, and leaves no file behind after an error."""
    part = path.with_name(f".{path.name}.part")
    try:
        with storage_errors(path.parent):
            yield part
            part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a file atomically. Raises StorageError."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turns errors of a full disk or of missing rights into StorageError, with the folder and the remedy."""
    try:
        yield
    except VidfindError:
        raise
    except Exception as error:  # LanceDB and safetensors raise many kinds, with the system's own words inside
        number = _error_number(error)
        if number not in REMEDIES:
            raise
        if number in UNSUPPORTED:
            with suppress(OSError):
                require_file_system(folder)
        raise StorageError(f"{folder} cannot be used: {os.strerror(number)}. {REMEDIES[number]}") from error


def _error_number(error: Exception) -> int:
    """Returns the number of an error of the operating system; 0 for other errors."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    quoted = re.search(r"\(os error (\d+)\)", str(error))  # as Rust writes it
    number = int(quoted[1]) if quoted else 0
    if sys.platform == "win32" and number:
        return OSError(0, "", None, number).errno or 0  # OSError translates the numbers of Windows
    return number


def lock(descriptor: int) -> None:
    """Locks an open file until it is closed. Raises BlockingIOError at once if another process has it."""
    from filelock import lock_descriptor  # here, since it takes a tenth of a second, and only writing needs it

    if not lock_descriptor(descriptor, blocking=False):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
