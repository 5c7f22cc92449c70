"""Why a folder or file cannot be read, in words for users."""

import errno
import os
from pathlib import Path
from stat import S_ISDIR


def why_unreadable(error: OSError) -> str:
    """Why a folder or file cannot be read, in words that follow its name."""
    if isinstance(error, PermissionError):
        return "may not be read: no permission"
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    if error.errno == errno.ENAMETOOLONG:
        return "cannot be read: its path is too long for this system"
    return f"cannot be read: {error.strerror or error}"


def check_readable(folder: Path) -> str | None:
    """Why a folder or file that is asked for cannot be looked at; None if it can, or is not there."""
    try:
        if S_ISDIR(os.stat(folder).st_mode):
            with os.scandir(folder) as entries:
                next(entries, None)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return None
    except OSError as error:
        return why_unreadable(error)
    return None
