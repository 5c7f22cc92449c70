"""Atomic writes of small files, locks, and clear errors for full disks and missing rights.

Knows nothing of the contents of the files. Of LanceDB it knows only that its errors quote those of the system.
"""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidfind.errors import StorageError, VidfindError

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
    errno.EOPNOTSUPP: LOCAL,
    errno.EMFILE: "Let a process open more files: ulimit -n 4096",
}


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
