"""How much of the machine vidfind takes: priority, threads, power, and the time that it really runs.

Knows nothing of videos. psutil and torch are imported where they are used. Times are in seconds.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

# Between two questions whether the machine is on battery still.
SECONDS_ON_BATTERY = 10.0
TICK = 0.5
# Between two ticks this long, the process was stopped or the machine asleep; a busy machine is late by less.
LONGEST_TICK = 3.0


def lower_priority() -> None:
    """Lets other programs go first, from now on: at the CPU, and at the disk where the system knows of that.

    The threads and processes that this one starts later do the same; it cannot be taken back."""
    import psutil

    process = psutil.Process()
    try:
        if sys.platform == "win32":
            process.nice(psutil.IDLE_PRIORITY_CLASS)
            process.ionice(psutil.IOPRIO_VERYLOW)
        else:
            process.nice(19)
            if sys.platform == "linux":
                process.ionice(psutil.IOPRIO_CLASS_IDLE)
    except (OSError, psutil.Error) as error:  # some containers forbid it
        log.warning("The system does not allow a lower priority: %s", error)


def use_threads(count: int | None) -> None:
    """Lets the model compute with this many CPU threads; None leaves that to torch."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


def in_lanes(function: Callable[[T], R], items: Iterable[T], lanes: int) -> Generator[tuple[T, R]]:
    """Each item, in order, with what `function` makes of it: `lanes` items at a time, each on one core of its own.

    For torch on a CPU this is quicker than several threads for each item: they wait for the slowest of them many times
    for each item, spinning, while other work wants their cores. Takes no more than `lanes` + 1 items ahead of what has
    been yielded. Closing the generator waits for the items at work."""
    import torch

    threads = torch.get_num_threads()
    pending: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(lanes, "lane", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            pending.append((item, pool.submit(function, item)))
            while pending and (len(pending) > lanes or pending[0][1].done()):
                first, result = pending.popleft()
                yield first, result.result()
        for first, result in pending:
            yield first, result.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


def on_battery() -> bool:
    """Whether the machine has a battery and runs on it now."""
    import psutil

    if not hasattr(psutil, "sensors_battery"):  # there is none on some systems
        return False
    try:
        battery = psutil.sensors_battery()
    except (OSError, psutil.Error) as error:
        log.info("cannot ask for the battery: %s", error)
        return False
    return battery is not None and battery.power_plugged is False  # None: the system does not know


def wait_for_mains() -> None:
    """Returns when the machine does not run on battery."""
    while on_battery():
        log.info("paused: on battery")
        time.sleep(SECONDS_ON_BATTERY)


class RunningClock:
    """Counts the seconds in which the process runs: not while it is stopped (Ctrl-Z) or the machine is asleep.

    A stop is seen afterwards, from a tick that came far too late: no signal tells of all kinds of it."""

    def __init__(self, tick: float = TICK, longest: float = LONGEST_TICK) -> None:
        self._tick, self._longest = tick, longest
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._last = time.monotonic()
        self._pauses = 0
        threading.Thread(target=self._run, name="clock", daemon=True).start()

    def now(self) -> float:
        """Seconds since the clock was made."""
        with self._lock:
            now = time.monotonic()
            passed, self._last = now - self._last, now
            if not self._pauses:
                self._seconds += passed if passed < self._longest else self._tick
            return self._seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time within does not count either."""
        self.now()
        self._pauses += 1
        try:
            yield
        finally:
            self.now()
            self._pauses -= 1

    def _run(self) -> None:
        while True:
            time.sleep(self._tick)
            self.now()


@functools.cache
def running_clock() -> RunningClock:
    """The one of this process."""
    return RunningClock()
