"""How far the run is that encodes videos for an index: noted where the index is, for other processes and machines."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidfind.errors import StorageError
from vidfind.store.places.lease import is_being_written
from vidfind.store.places.path import IndexPath, write_text

RUN_FILE = "run.json"
"""How far the run is that is under way: see `noting_run`."""
NOTED_EVERY = 0.5  # seconds
NOTED_REMOTELY = 5.0  # seconds


@dataclasses.dataclass(frozen=True)
class RunState:
    """How far a run is that encodes videos: `done` of `total`, and how long it still takes, where that is known."""

    done: int
    total: int
    seconds_left: float | None = None


@contextmanager
def noting_run(path: IndexPath, total: int) -> Iterator[Callable[[int, float | None], None]]:
    """Yields a function that takes the number of videos done and the seconds left, which other processes can read.

    A run goes on if that cannot be noted."""
    noted, every = -math.inf, NOTED_EVERY if isinstance(path, Path) else NOTED_REMOTELY

    def note(done: int, seconds_left: float | None) -> None:
        nonlocal noted
        if time.monotonic() - noted >= every:
            noted = time.monotonic()
            with suppress(OSError, StorageError):
                state = dataclasses.asdict(RunState(done, total, seconds_left))
                write_text(path / RUN_FILE, json.dumps({**state, "process": os.getpid()}))

    note(0, None)
    try:
        yield note
    finally:
        forget_run(path)


def forget_run(path: IndexPath) -> None:
    """Deletes what was noted of a run, also that of a run which was killed."""
    with suppress(OSError, StorageError):
        (path / RUN_FILE).unlink(missing_ok=True)


def read_run(path: IndexPath) -> RunState | None:
    """Returns how far the run is that is under way; None if there is none, or a process was killed in it."""
    try:
        values = json.loads((path / RUN_FILE).read_text(encoding="utf-8"))
        left = values.get("seconds_left")  # older versions of vidfind did not note it
        state = RunState(int(values["done"]), int(values["total"]), None if left is None else float(left))
        process = int(values["process"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(path, Path):  # whose process may be on another machine
        return state if is_being_written(path) else None
    from psutil import pid_exists  # takes 20 ms to import

    return state if pid_exists(process) else None
