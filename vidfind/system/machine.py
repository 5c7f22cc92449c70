"""How much of the machine vidfind uses: priority, threads, battery, and the time that it really runs; and which servers
it reaches.

Knows nothing of videos. psutil and torch are imported where they are used. Times are in seconds.
"""

from __future__ import annotations

import functools
import logging
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from vidfind.system import times

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

# The interval at which the battery is checked while vidfind is paused.
SECONDS_ON_BATTERY = 10.0
TICK = 0.5
# If two ticks are this far apart, the process was stopped or the machine slept; a busy machine is late by less.
LONGEST_TICK = 3.0


def lower_priority() -> None:
    """Lets other programs go first from now on: at the CPU, and at the disk if the system supports that.

    Threads and processes that are started later inherit it; it cannot be undone."""
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
    """Sets the number of CPU threads of the model; None leaves it to torch."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute with one CPU thread inside this context."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def parallel_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[tuple[T, R]]:
    """Yields each item, in order, with the result of `function(item)`: `workers` items at a time, one core for each.

    For torch on a CPU this is faster than several threads for each item: such threads wait for the slowest one many
    times per item, and spin while other work needs their cores. Takes at most `workers` + 1 items more than it has
    yielded. Closing the generator waits for the items in work."""
    import torch

    threads = torch.get_num_threads()
    pending: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(workers, "parallel", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            pending.append((item, pool.submit(function, item)))
            while pending and (len(pending) > workers or pending[0][1].done()):
                first, result = pending.popleft()
                yield first, result.result()
        for first, result in pending:
            yield first, result.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


def in_threads(work: Callable[[int], R], count: int) -> list[R]:
    """Returns work(0), ..., work(count - 1), of which the first is called in this thread, each other in its own.

    For products of numpy, during which other threads of Python run. Those of OpenBLAS would spin while they wait."""
    others = [_other_threads().submit(work, number) for number in range(1, count)]
    return [work(0), *(other.result() for other in others)]


@functools.cache
def _other_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="lane")


def give_back_memory() -> None:
    """Gives memory that was freed back to the system at once. Linux keeps much of it for each thread otherwise."""
    import ctypes

    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)


def cpu_name() -> str:
    """Returns the name of the CPU, as far as the system knows it."""
    import platform
    import subprocess

    with suppress(OSError, subprocess.CalledProcessError):
        if sys.platform == "linux":
            if name := _cpu_line("model name"):
                return name
        elif sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def cpu_features() -> str:
    """Returns a digest of the features that the CPU announces: virtual machines hide some. Empty where unknown."""
    import hashlib

    with suppress(OSError):
        if sys.platform == "linux":
            features = _cpu_line("flags") or _cpu_line("Features")  # ARM has its own word
            return hashlib.sha256(" ".join(sorted(features.split())).encode()).hexdigest()[:8] if features else ""
    return ""


def _cpu_line(name: str) -> str:
    """Returns what Linux says of the first CPU under a name; empty if nothing."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def on_battery() -> bool:
    """Whether the machine has a battery and runs on it now."""
    import psutil

    if not hasattr(psutil, "sensors_battery"):  # some systems do not have it
        return False
    try:
        battery = psutil.sensors_battery()
    except (OSError, psutil.Error) as error:
        log.info("cannot read the state of the battery: %s", error)
        return False
    return battery is not None and battery.power_plugged is False  # None: the system does not know


def wait_for_mains() -> None:
    """Waits until the machine does not run on battery."""
    while on_battery():
        log.info("paused: on battery")
        time.sleep(SECONDS_ON_BATTERY)


class RunningClock:
    """Counts the seconds in which the process runs: not while it is stopped (Ctrl-Z) or the machine sleeps.

    A stop is noticed afterwards, because a tick came far too late: no signal announces every kind of stop."""

    def __init__(self, tick: float = TICK, longest: float = LONGEST_TICK) -> None:
        self._tick, self._longest = tick, longest
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._last = time.monotonic()
        self._pauses = 0
        threading.Thread(target=self._run, name="clock", daemon=True).start()

    def now(self) -> float:
        """Returns the seconds since the clock was created."""
        with self._lock:
            now = time.monotonic()
            passed, self._last = now - self._last, now
            if not self._pauses:
                self._seconds += passed if passed < self._longest else self._tick
            return self._seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside this context does not count."""
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
    """Returns the one clock of this process."""
    return RunningClock()


def when_command_began() -> float:
    """Returns the time on `running_clock` at which the command was typed, before all imports."""
    now = running_clock().now()
    return now if times.command_began is None else now - (time.monotonic() - times.command_began)


def answers(host: str, port: int, seconds: float) -> bool:
    """Whether a server takes a connection within so many seconds."""
    found: list[bool] = []

    def ask() -> None:
        with suppress(OSError):
            socket.create_connection((host, port), seconds).close()
            found.append(True)

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name knows no limit
    asking.start()
    asking.join(seconds)
    return bool(found)
