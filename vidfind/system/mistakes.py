"""Errors that vidfind did not foresee, in words for users: mistakes in vidfind, or an upgrade while it ran."""

from __future__ import annotations

import time
from pathlib import Path

import vidfind

STARTED = time.time()
"""When this process imported vidfind."""
BUG = "This is a mistake in vidfind"
UPGRADED = "vidfind, or a library that it needs, was upgraded while it ran. Start it again."


def cause_of(error: Exception) -> Exception:
    """Returns the first error in a group of errors, such as a task group raises; of any other error, itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def mistake_sentence(error: Exception) -> str:
    """Returns what a user is told of an error that nothing foresaw."""
    if was_upgraded():
        return UPGRADED
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"{BUG}: {text.rstrip('.')}."


def was_upgraded(since: float | None = None) -> bool:
    """Whether installed files were replaced since this process was started, or since another time.

    What it imports from then on may not fit what it has imported before."""
    import sysconfig  # takes a few ms

    since = STARTED if since is None else since
    ours, libraries = Path(vidfind.__file__).parent, Path(sysconfig.get_path("purelib"))
    try:
        installed = [*ours.rglob("*.py"), *libraries.glob("*.dist-info")]
        return any(one.stat().st_ctime > since for one in installed)  # a time that no installer can set
    except OSError:
        return True
