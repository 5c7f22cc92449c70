"""How far the run is that encodes videos for an index: noted where the index is, for other processes and machines."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
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
LATELY = 600.0
"""A run of another machine, on a disk that both share, is under way if it was noted within so many seconds: whether its
process lives cannot be seen, and clocks differ."""


@dataclasses.dataclass(frozen=True)
class RunState:
    """How far a run is that encodes videos: `done` of `total`, and how long it still takes, where that is known."""

    done: int
    total: int
    seconds_left: float | None = None
    nodes: int = 0
    """Number of machines of a cluster that encode; 0: only the one that runs."""


@contextmanager
def noting_run(path: IndexPath, total: int) -> Iterator[Callable[[int, float | None, int], None]]:
    """Yields a function that notes the number of videos done, the seconds left and the number of nodes, for others.

    It is noted now and then, and when another number of nodes is at work. A run goes on if that fails."""
    noted, noted_nodes = -math.inf, 0
    every = NOTED_EVERY if isinstance(path, Path) else NOTED_REMOTELY

    def note(done: int, seconds_left: float | None, nodes: int) -> None:
        nonlocal noted, noted_nodes
        if time.monotonic() - noted >= every or nodes != noted_nodes:
            noted, noted_nodes = time.monotonic(), nodes
            with suppress(OSError, StorageError):
                state = dataclasses.asdict(RunState(done, total, seconds_left, nodes))
                whose = {"process": os.getpid(), "machine": socket.gethostname()}
                write_text(path / RUN_FILE, json.dumps({**state, **whose}))

    note(0, None, 0)
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
        nodes = int(values.get("nodes", 0))
        state = RunState(int(values["done"]), int(values["total"]), None if left is None else float(left), nodes)
        process, machine = int(values["process"]), values.get("machine")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(path, Path):  # whose process may be on another machine
        return state if is_being_written(path) else None
    if machine not in (None, socket.gethostname()):
        with suppress(OSError):
            return state if abs(time.time() - (path / RUN_FILE).stat().st_mtime) < LATELY else None
    from psutil import pid_exists  # takes 20 ms to import

    return state if pid_exists(process) else None
